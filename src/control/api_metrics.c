/* The metrics, in pieces. */
#include "control/admin_pieces.h"
#include "control/api.h"

static bool step(void *arg, struct buf *out)
{
    return metrics_text_step(arg, out);
}

static void end(void *arg)
{
    metrics_text_free(arg);
}

void api_metrics(struct api *api, struct admin_request *request, const char *name)
{
    (void)name;
    static const struct admin_pieces pieces = {"text/plain; version=0.0.4; charset=utf-8", step, end};
    admin_answer_pieces(request, api->loop, &pieces, metrics_text_new(api->metrics, api->conductor));
}
