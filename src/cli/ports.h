/* usher ports: what a port is, who listens there and what speaks. */
#ifndef USHER_CLI_PORTS_H
#define USHER_CLI_PORTS_H

#include "base/err.h"
#include "ports/target.h"

#include <stdbool.h>
#include <stdio.h>

/* usher ports ...; see usher-ports(8). argv[0] is "ports". Returns the exit status: 0 somebody has
 * a port, 1 all are free, 2 used wrongly, 3 it could not be found out. */
int cli_ports(int argc, char **argv) MUST_CHECK;

/* usher ports --how: the commands that find out the same by hand, on Linux, macOS and Windows, each
 * below a line that says what for. What asks a server asks the target's host, or loopback if it has
 * none. In the commands, PID, NAME and (of a range) PORT are to be filled in from what the ones
 * before have shown. A host that a shell would not take as one plain word is left out likewise:
 * HOST. Looks at nothing and nobody. */
void ports_how(FILE *out, const struct target *target, bool with_udp);

#endif
