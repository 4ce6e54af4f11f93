/* The table of mechanisms. */
#include "sasl/sasl.h"

#include "sasl/plain.h"

#include <stddef.h>

static const struct sasl_mech *const mechs[] = {
    &sasl_plain,
};

const struct sasl_mech *sasl_find(struct slice name)
{
    for (size_t i = 0; i < sizeof(mechs) / sizeof(mechs[0]); i++) {
        if (slice_ieq(name, slice_str(mechs[i]->name)))
            return mechs[i];
    }
    return NULL;
}
