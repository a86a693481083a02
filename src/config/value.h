/* value: one value of the file, or one default, into its field. Faults are sentences without a place. */
#pragma once

#include "config/section.h"

struct config_list;

/* Reads a single value (not a section, nor a list). */
bool value_read(const struct section_key *key, const config_setting_t *setting, void *field,
                struct err *err) MUST_CHECK;
/* Reads KEY_TEXTS, KEY_NUMBERS, KEY_ENVIRONMENT and KEY_FIELDS. On a fault *wrong is the setting that has it.
 */
bool value_read_texts(const struct section_key *key, const config_setting_t *setting,
                      struct config_list *list, const config_setting_t **wrong, struct err *err) MUST_CHECK;
/* Is it a list, or an array, of a length that the key takes? */
bool value_is_list(const struct section_key *key, const config_setting_t *setting,
                   struct err *err) MUST_CHECK;

/* Gives the field the key's default. A default that its own row refuses stops the process. */
void value_fill(const struct section_key *key, void *field);
/* Frees what the field owns and clears it. */
void value_release(const struct section_key *key, void *field);

/* Sets the sentence that says what the key takes and what it got instead. Returns false. */
bool value_refuse(const struct section_key *key, const config_setting_t *setting, struct err *err);
