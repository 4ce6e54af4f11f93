/* The parent: opens what needs rights, starts the other processes, replaces those that die, ends
 * them in order. It reads no network byte: listening sockets pass through its hands, connections
 * never.
 */
#ifndef USHER_PARENT_PARENT_H
#define USHER_PARENT_PARENT_H

struct conf;

/* `program`: argv[0]. Serves by a configuration that was checked, and was read from `conf_path`,
 * until told to stop; frees it. Returns the exit code: 0 after a clean stop, 1 when it could not
 * start or go on. */
int parent_serve(struct conf *conf, const char *conf_path, const char *program);

/* Goes on with what the program before us did in this process, which has executed us with the state
 * that it left (parent/handover.h). Otherwise as parent_serve(). */
int parent_go_on(int state_fd);

#endif
