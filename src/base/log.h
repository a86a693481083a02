/* log: sentences for people, one line each on stderr, as text or JSON. Never called on the request path.
 * Where stderr is a pipe that is full, they are lost, and how many is said with the next. */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* `role` ("keeper", "control", "proxy") is in every line and must stay valid. Where stderr is systemd's
 * journal (JOURNAL_STREAM), each line has its priority from now on. Before this: text, info, no role. */
void log_open(const char *role);
void log_configure(enum log_level level, enum log_format format);

void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);

/* Why there is no start: "upswapd: SENTENCE", for who has called it by hand; in a log of JSON a line of that.
 */
void log_last_word(const char *sentence);
