#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/ask.h"
#include "cli/render.h"

static int run(const struct session *session, const struct arguments *arguments)
{
    const char *service = arguments_operand(arguments, 0);
    if (service != NULL)
        return ask_show(session, client_path("/v1/services/", service, ""), render_service);
    return ask_show(session, mem_dup("/v1/status"), render_status);
}

const struct command command_status = {
    .name = "status",
    .operands = "[SERVICE]",
    .summary = "show services, pools, instances and running deployments",
    .first = OPERAND_SERVICE,
    .most = 1,
    .run = run,
};
