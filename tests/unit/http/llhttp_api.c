/* llhttp_api: the rest of llhttp, which cannot be compiled together with its parser. */
#include <api.c>
#include <http.c>
