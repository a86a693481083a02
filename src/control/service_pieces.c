#include "control/service_pieces.h"

#include "control/admin_pieces.h"
#include "control/admin_request.h"

bool service_pieces_begin(struct service_pieces *pieces, struct conductor *conductor, const char *service,
                          bool figures)
{
    *pieces = (struct service_pieces){
        .conductor = conductor, .figures = figures, .service = conductor_service(conductor, service)};
    if (pieces->service == NULL)
        return false;
    if (figures)
        conductor_add_figures(conductor, pieces->service);
    pieces->pools = json_incref(json_object_get(pieces->service, "pools"));
    return true;
}

void service_pieces_end(struct service_pieces *pieces)
{
    json_decref(pieces->service);
    json_decref(pieces->pools);
    pieces->service = pieces->pools = NULL;
}

static void open_service(struct service_pieces *pieces, struct buf *out)
{
    admin_pieces_open(out, pieces->service, "pools");
    json_decref(pieces->service);
    pieces->service = NULL;
}

static void open_pool(struct service_pieces *pieces, json_t *pool, struct buf *out)
{
    buf_add(out, ",", pieces->pool == 0 ? 0 : 1);
    admin_pieces_open(out, pool, "instances");
    pieces->in_pool = true;
    pieces->instance = 0;
}

/* Returns how many there still were. */
static size_t write_instances(struct service_pieces *pieces, const json_t *pool, size_t limit,
                              struct buf *out)
{
    size_t i;
    json_t *instance;
    json_t *instances =
        conductor_instances(pieces->conductor, json_string_value(json_object_get(pool, "deployment")),
                            pieces->instance, limit, pieces->figures);
    json_array_foreach (instances, i, instance) {
        buf_add(out, ",", pieces->instance == 0 ? 0 : 1);
        admin_write_json(out, instance);
        pieces->instance++;
    }
    json_decref(instances);
    return i;
}

bool service_pieces_step(struct service_pieces *pieces, size_t *left, struct buf *out)
{
    json_t *pool = json_array_get(pieces->pools, pieces->pool);
    if (pieces->service != NULL) {
        open_service(pieces, out);
        return true;
    }
    if (pool == NULL) {
        buf_add_str(out, STR("]}"));
        service_pieces_end(pieces);
        return false;
    }
    if (!pieces->in_pool)
        open_pool(pieces, pool, out);
    size_t limit = *left, count = write_instances(pieces, pool, limit, out);
    *left -= count;
    if (count == limit)
        return true;
    buf_add_str(out, STR("]}"));
    pieces->in_pool = false;
    pieces->pool++;
    return true;
}
