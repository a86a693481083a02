#include "io/thread.h"

#include <signal.h>
#include <stddef.h>

int thread_begin(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    pthread_t begun;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&begun, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0 && thread == NULL)
        pthread_detach(begun);
    else if (error == 0)
        *thread = begun;
    return error;
}
