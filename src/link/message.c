/* One row a type of message: whoever adds a type adds a row, and nothing of another shape gets through. */
#include "link/message.h"

#include <stddef.h>
#include <string.h>

struct shape {
    const char *name;
    size_t size;
    bool has_fd;
    size_t text, text_size; /* where a text lies in the payload, and the size of its array; 0: none */
};

#define TEXT_IN(type, member) offsetof(type, member), sizeof(((type *)0)->member)

static const struct shape shapes[MESSAGE_TYPES] = {
    [MESSAGE_VERSION] = {"version", sizeof(struct message_version), false, 0, 0},
    [MESSAGE_START] = {"start", sizeof(struct message_start), false, 0, 0},
    [MESSAGE_STORED] = {"stored", sizeof(struct message_name), true, TEXT_IN(struct message_name, name)},
    [MESSAGE_RELOAD] = {"reload", 0, false, 0, 0},
    [MESSAGE_REOPEN] = {"reopen", 0, false, 0, 0},
    [MESSAGE_PROXY_STARTED] = {"proxy started", sizeof(struct message_proxy), false, 0, 0},
    [MESSAGE_STOP] = {"stop", 0, false, 0, 0},
    [MESSAGE_FINISHING] = {"finishing", sizeof(struct message_finishing), true, 0, 0},
    [MESSAGE_FINISHED] = {"finished", sizeof(struct message_finishing), false, 0, 0},
    [MESSAGE_UPGRADING] = {"upgrading", sizeof(struct message_release), false,
                           TEXT_IN(struct message_release, version)},
    [MESSAGE_UPGRADED] = {"upgraded", sizeof(struct message_release), false,
                          TEXT_IN(struct message_release, version)},
    [MESSAGE_UPGRADE_REFUSED] = {"upgrade refused", sizeof(struct message_sentence), false,
                                 TEXT_IN(struct message_sentence, sentence)},
    [MESSAGE_MAKE_WAY] = {"make way", 0, false, 0, 0},
    [MESSAGE_FINISH] = {"finish", 0, false, 0, 0},
    [MESSAGE_UPGRADE] = {"upgrade", 0, false, 0, 0},
    [MESSAGE_STORE] = {"store", sizeof(struct message_name), true, TEXT_IN(struct message_name, name)},
    [MESSAGE_DROP] = {"drop", sizeof(struct message_name), false, TEXT_IN(struct message_name, name)},
    [MESSAGE_READY] = {"ready", sizeof(struct message_ready), false, 0, 0},
    [MESSAGE_SERVING] = {"serving", 0, false, 0, 0},
    [MESSAGE_COUNTERS] = {"counters", 0, true, 0, 0},
    [MESSAGE_LISTENER] = {"listener", sizeof(struct message_listener), true, 0, 0},
    [MESSAGE_ACCESS_LOG] = {"access log", 0, true, 0, 0},
    [MESSAGE_KEYRING] = {"keyring", 0, true, 0, 0},
    [MESSAGE_WORLD] = {"world", sizeof(struct message_world), true, 0, 0},
    [MESSAGE_HELLO] = {"hello", sizeof(struct message_hello), false, 0, 0},
    [MESSAGE_PUBLISHED] = {"published", sizeof(struct message_published), false, 0, 0},
    [MESSAGE_REFUSED] = {"refused", sizeof(struct message_refused), false,
                         TEXT_IN(struct message_refused, sentence)},
    [MESSAGE_WHO] = {"who", 0, false, 0, 0},
    [MESSAGE_LISTENER_PASSED] = {"passed listener", sizeof(struct message_listener), true, 0, 0},
    [MESSAGE_GROUND] = {"ground", sizeof(struct message_world), true, 0, 0},
    [MESSAGE_RELOADED] = {"reloaded", sizeof(struct message_reloaded), false, 0, 0},
    [MESSAGE_PROXY_ENDED] = {"proxy ended", sizeof(struct message_ended), false, 0, 0},
};

static const struct shape *shape_of(uint32_t type)
{
    return type < MESSAGE_TYPES && shapes[type].name != NULL ? shapes + type : NULL;
}

const char *message_type_name(uint32_t type)
{
    const struct shape *shape = shape_of(type);
    return shape == NULL ? "unknown" : shape->name;
}

bool message_check(const struct message *message, struct err *err)
{
    const struct shape *shape = shape_of(message->type);
    if (shape == NULL)
        return err_set(err, "a message of the unknown type %u", (unsigned)message->type);
    if (message->size != shape->size)
        return err_set(err, "a message \"%s\" of %zu bytes instead of %zu", shape->name, message->size,
                       shape->size);
    if ((message->fd >= 0) != shape->has_fd)
        return err_set(err, "a message \"%s\" with%s a descriptor", shape->name, shape->has_fd ? "out" : "");
    if (shape->text_size > 0 &&
        memchr((const char *)message->payload + shape->text, '\0', shape->text_size) == NULL)
        return err_set(err, "a message \"%s\" whose text has no end", shape->name);
    return true;
}
