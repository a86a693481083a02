/* Two questions: who has sent the browser (Sec-Fetch-Site, which no page can forge; else Origin), and by
 * which name it found the way here. Over TCP the admin listener is at a loopback address, so its names are
 * that address and localhost; whatever else leads to it is somebody's DNS. */
#include "control/admin_browser.h"

#include "control/dashboard.h"

#include <arpa/inet.h>
#include <string.h>

bool admin_browser_wants_page(const struct http_request *head)
{
    bool looks = head->method == HTTP_GET || head->method == HTTP_HEAD;
    return looks && head->framing == HTTP_BODY_NONE && dashboard_find(head->path) != NULL;
}

static bool is_local_name(struct str host)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (str_equal_nocase(host, STR("localhost")) || (host.n > 0 && host.p[0] == '['))
        return true;
    if (host.n == 0 || host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, &address) == 1;
}

static bool is_own_origin(struct str origin, struct str authority)
{
    struct str scheme = str_starts_with(origin, STR("https://")) ? STR("https://") : STR("http://");
    if (!str_starts_with(origin, scheme))
        return false;
    return str_equal_nocase((struct str){origin.p + scheme.n, origin.n - scheme.n}, authority);
}

/* A link from elsewhere may lead to the page; a request to the API comes from the page alone, or from who
 * typed the address. */
static bool is_sent_by_us(const struct http_request *head, bool page)
{
    const struct http_field *site = http_fields_named(&head->fields, STR("Sec-Fetch-Site"));
    const struct http_field *origin = http_fields_named(&head->fields, STR("Origin"));
    if (page)
        return true;
    if (site != NULL)
        return str_equal(site->value, STR("same-origin")) || str_equal(site->value, STR("none"));
    return origin == NULL || is_own_origin(origin->value, head->authority);
}

bool admin_browser_allows(const struct http_request *head, bool tcp, struct err *err)
{
    bool page = admin_browser_wants_page(head);
    bool browser = page || http_fields_named(&head->fields, STR("Origin")) != NULL;
    if (!is_sent_by_us(head, page))
        return err_set(err, "another site has sent this request (Origin, Sec-Fetch-Site); only the dashboard "
                            "at / of this address may send it from a browser");
    if (tcp && browser && !is_local_name(head->host))
        return err_set(err,
                       "this address is not called \"%.*s\"; open the dashboard by the address that "
                       "admin.listen has, or by localhost; a proxy in front must send that as Host",
                       (int)(head->host.n < 200 ? head->host.n : 200), head->host.p);
    return true;
}
