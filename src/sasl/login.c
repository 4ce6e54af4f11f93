/* LOGIN; see sasl/login.h. */
#include "sasl/login.h"

static enum sasl_result client_step(const struct sasl_identity *me, unsigned step,
                                    struct slice challenge, struct buf *out_response)
{
    struct slice said = step == 0 ? me->user : me->password;

    (void)challenge;
    if (step > 1 || me->authzid.n > 0 || slice_has(said, '\0'))
        return SASL_BAD;
    if (buf_put(out_response, said) < 0)
        return SASL_BAD;
    return step == 0 ? SASL_MORE : SASL_DONE;
}

static enum sasl_result server_step(unsigned step, struct slice message, struct buf *out_challenge,
                                    struct sasl_identity *claim)
{
    if (step > 1 || slice_has(message, '\0'))
        return SASL_BAD;
    if (step == 1) {
        claim->password = message;
        return SASL_DONE;
    }
    if (message.n == 0 || buf_puts(out_challenge, "Password:") < 0)
        return SASL_BAD;
    claim->user = message;
    return SASL_MORE;
}

const struct sasl_mech sasl_login = {
    .name = "LOGIN",
    .title = "SASL-LOGIN",
    .sends_password = true,
    .is_client_first = false,
    .prompt = SLICE("Username:"),
    .client_step = client_step,
    .server_step = server_step,
};
