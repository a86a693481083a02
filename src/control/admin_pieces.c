#include "control/admin_pieces.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct writing {
    const struct admin_pieces *pieces;
    void *arg;
    struct admin_request *request; /* NULL: it is gone, and so is this after the turn */
    bool full;                     /* waits for room */
    struct loop *loop;
    struct loop_deferred next; /* the next piece; deferred unless full */
};

static void writing_free(struct writing *writing)
{
    writing->pieces->free(writing->arg);
    free(writing);
}

static void send_piece(struct writing *writing, struct str piece, bool more)
{
    writing->full = !admin_stream_send(writing->request, piece);
    if (!more) {
        admin_stream_end(writing->request);
        writing_free(writing);
    } else if (!writing->full) {
        loop_defer(writing->loop, &writing->next);
    }
}

static void go_on(struct writing *writing)
{
    struct buf piece = BUF_EMPTY;
    bool more = writing->pieces->step(writing->arg, &piece);
    send_piece(writing, buf_str(&piece), more);
    buf_free(&piece);
}

static void run_next(struct loop_deferred *deferred)
{
    struct writing *writing = mem_container(deferred, struct writing, next);
    if (writing->request == NULL)
        writing_free(writing);
    else
        go_on(writing);
}

static void on_drained(void *arg)
{
    struct writing *writing = arg;
    if (writing->full)
        go_on(writing);
}

static void on_gone(void *arg)
{
    struct writing *writing = arg;
    writing->request = NULL;
    if (writing->full)
        writing_free(writing);
}

static void begin(struct admin_request *request, struct loop *loop, const struct admin_pieces *pieces,
                  void *arg, struct str first)
{
    struct writing *writing = mem_zero(1, sizeof *writing);
    *writing = (struct writing){
        .pieces = pieces, .arg = arg, .request = request, .loop = loop, .next.run = run_next};
    request->arg = writing;
    request->gone = on_gone;
    request->drained = on_drained;
    admin_stream_begin(request, pieces->content_type);
    send_piece(writing, first, true);
}

void admin_pieces_open(struct buf *out, json_t *object, const char *list)
{
    json_object_del(object, list); /* else it keeps its place */
    json_object_set_new(object, list, json_array());
    admin_write_json(out, object);
    out->n -= strlen("]}");
}

void admin_answer_pieces(struct admin_request *request, struct loop *loop, const struct admin_pieces *pieces,
                         void *arg)
{
    struct buf first = BUF_EMPTY;
    if (pieces->step(arg, &first)) {
        begin(request, loop, pieces, arg, buf_str(&first));
    } else {
        admin_answer_text(request, pieces->content_type, buf_str(&first));
        pieces->free(arg);
    }
    buf_free(&first);
}
