/* notify: tells the service manager where the daemon stands (sd_notify(3)); does nothing without one. */
#pragma once

void notify_ready(void);
void notify_stopping(void);
