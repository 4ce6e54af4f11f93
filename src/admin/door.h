/* The unix door: where `usher ctl` knocks. A part of the control process, which main.c puts into
 * its role; so it answers from what control knows, without a copy.
 *
 * The parent makes the socket (setting admin_socket) and keeps it; whoever connects is known by the
 * kernel's word (SO_PEERCRED, SO_PEERGROUPS) and by nothing that it says. Root, and the account
 * that control runs as, may see and steer; others as admin_see and admin_steer say. Whoever may
 * neither is told so when it asks, and let go.
 *
 * The protocol: UTF-8, a request is one JSON object on one line,
 *
 *     {"command": "kick", "user": "ann"}
 *
 * the answer is lines too, each an object: {"row": {...}} any number of times, then one of
 *
 *     {"done": {...}}
 *     {"error": "there is no backend mial1; did you mean mail1?", "code": "usage"}
 *
 * A code is "usage", "denied" or "failed"; tables/answers.def has the names in rows and done. Then
 * the next request may come. Requests of a connection are answered one after the other; when the
 * peer has finished sending and has its answers, the connection ends.
 *
 * Bounds: 32 connections, of which 28 for all but root and our account, and 24 for those who may
 * only see; 64 KiB a request; 60 s of silence between requests, or of a reader who does not read.
 * Rows are made only as the reader takes them, and one piece of work is done in a turn of the loop,
 * for whomever: so a long list costs little memory, and logins are answered in between. Where
 * directories have to be asked, or usher itself is changed (reload, upgrade), others are served
 * meanwhile; who hangs up then is found to be gone when there is something to say, within
 * directory_timeout, or reload_timeout, and a little. Each steering command that is not wrong in
 * itself, or denied, is one log event: who, what, how it went; of a reload or an upgrade, that it
 * was begun.
 *
 * When control ends, as it does behind each reload that brings new processes, answers that are
 * whole are sent, and all others end where they are: what has no last line is no answer.
 */
#ifndef USHER_ADMIN_DOOR_H
#define USHER_ADMIN_DOOR_H

#include "control/control.h"

extern const struct control_door admin_door;

#endif
