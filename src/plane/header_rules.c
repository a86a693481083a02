/* The header rules of an exchange's service, and what their variables stand for. */
#include "plane/exchange.h"

struct str header_rules_of(const struct exchange *x, enum snapshot_text direction)
{
    if (x->service == NULL || !snapshot_has_text(x->rules, direction))
        return (struct str){NULL, 0};
    return snapshot_service_text(x->view->snapshot, x->service, direction);
}

static struct str pool_text(const struct exchange *x, struct str (*of)(const struct snapshot *snapshot,
                                                                       const struct snapshot_pool *pool))
{
    return x->pool != NULL ? of(exchange_choices(x), x->pool) : STR("");
}

/* A variable of the other direction has no place in a rule: the config refuses it. */
void header_rules_variables(const struct exchange *x, struct str host,
                            struct http_variable variables[HEADER_VARIABLES])
{
    const struct http_variable all[HEADER_VARIABLES] = {
        {STR("client"), peer_text(x->peer)},
        {STR("proto"), x->https ? STR("https") : STR("http")},
        {STR("port"), peer_port(x->peer)},
        {STR("request_id"), {x->id, x->id_length}},
        {STR("service"), snapshot_service_name(x->view->snapshot, x->service)},
        {STR("release"), pool_text(x, snapshot_pool_release)},
        {STR("deployment"), pool_text(x, snapshot_pool_deployment)},
        {STR("host"), host},
        {STR("instance"), x->attempted ? x->instance.name : STR("")},
        {STR(""), STR("")},
    };
    memcpy(variables, all, sizeof all);
}
