/* Invariant: what is asked has come to the instance when its end is returned. */
#include "h2_rig.h"

#include "unit.h"

int h2_rig_start(void **state)
{
    *state = rig_start_with_one();
    return 0;
}

int h2_rig_begin(struct rig *rig, struct h2_end *client, int32_t stream, uint8_t flags, const char *fields)
{
    h2_end_say(client, stream, flags, fields);
    int instance = rig_accept(rig, 0);
    rig_head(instance);
    return instance;
}

int h2_rig_ask(struct rig *rig, struct h2_end *client, int32_t stream)
{
    return h2_rig_begin(rig, client, stream, NGHTTP2_FLAG_END_STREAM, H2_GET);
}

void h2_rig_expect_answer(struct h2_end *client, int32_t stream)
{
    h2_end_read(client, NGHTTP2_HEADERS);
    assert_int_equal(client->stream, stream);
    h2_end_expect_field(client, ":status: 200\n");
    h2_end_read(client, NGHTTP2_DATA);
    assert_int_equal(client->stream, stream);
    assert_int_equal(client->size, 2);
    assert_memory_equal(client->payload, "ok", 2);
    assert_true((client->flags & NGHTTP2_FLAG_END_STREAM) != 0);
}
