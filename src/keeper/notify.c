#include "keeper/notify.h"

#ifdef HAVE_LIBSYSTEMD

#include <systemd/sd-daemon.h>

void notify_ready(void)
{
    sd_notify(0, "READY=1\nSTATUS=serving");
}

void notify_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=finishing what is in flight");
}

#else

void notify_ready(void)
{
}

void notify_stopping(void)
{
}

#endif
