/* The role "prepare": a process of the program that is to run, which reads the configuration for a
 * reload or an upgrade, checks it and all that it names, and opens what is not open yet. The parent
 * is given what came of it as descriptors: CONF, RULES, FILEs, PORTs with SOCKETs, DOOR; TOLDs for
 * the operator; and PREPARED last.
 *
 * It has the parent's rights, and like it reads no network byte. It is a process of its own so that
 * a program that cannot do it, or a file that it dies of, changes nothing.
 */
#ifndef USHER_PARENT_PREPARE_H
#define USHER_PARENT_PREPARE_H

/* Its main(). Returns the exit code: 0 when PREPARED was said, whatever it says. */
int prepare_main(void);

#endif
