/* The policy that the page is shown under: it takes nothing from elsewhere, sends nothing elsewhere, is
 * framed by nobody, and has no way to make HTML or a script of a text (trusted types, of which there are
 * none). */
#include "control/dashboard.h"

#include "control/api.h"

const char dashboard_fields[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n";

const struct dashboard_file *dashboard_find(struct str path)
{
    for (size_t i = 0; i < dashboard_file_count; i++) {
        if (str_equal(path, str_of(dashboard_files[i].path)))
            return &dashboard_files[i];
    }
    return NULL;
}

void api_dashboard(struct api *api, struct admin_request *request, const char *name)
{
    (void)api;
    const struct dashboard_file *file = dashboard_find(str_of(request->path));
    if (file == NULL)
        admin_problem(request, 404, "the dashboard has no file \"%.200s\"; it is at /", name);
    else
        admin_answer_file(request, file->type, dashboard_fields, file->content);
}
