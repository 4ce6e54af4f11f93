/* What processes of different releases say to each other, and leave to each other in memory, stays
 * as it was recorded in tests/unit/data/: docs/decisions/0020-versions-between-processes.md.
 *
 * If a test here fails you have changed what a version says on the wire, which older processes that
 * still run do not know. Undo that, or give it a new version, beside which the old one is still
 * spoken, and record the new one beside the old. What is recorded changes only for a version that
 * was never released:
 *
 *     test_wire print messages > tests/unit/data/messages-1.txt
 *     test_wire print notes > tests/unit/data/notes-3.txt
 *     test_wire print counters > tests/unit/data/counters-1.txt
 */
#include "control/shared.h"
#include "ipc/channel.h"
#include "metrics/counters.h"
#include "metrics/layout.h"
#include "metrics/tally.h"
#include "wire_samples.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define WHAT_TO_DO                                                                                 \
    "this is not what was recorded; older processes do not know it. A change needs a new version " \
    "(docs/decisions/0020-versions-between-processes.md)"

static void assert_as_recorded(const struct record *made, const struct records *recorded)
{
    const struct record *r = record_find(recorded, made->name);
    const char *member;

    if (!r)
        fail_msg("%s: nothing is recorded: " WHAT_TO_DO, made->name);
    member = record_difference(made, r);
    if (member)
        fail_msg("%s, %s: " WHAT_TO_DO, made->name, member);
}

/* --- messages -------------------------------------------------------------------------------- */

static void on_message(struct channel *ch, const struct msg *m)
{
    (void)ch;
    (void)m;
}

static void on_closed(struct channel *ch, const char *why)
{
    (void)ch;
    (void)why;
}

static const struct channel_events events = {.on_message = on_message, .on_closed = on_closed};

static struct slice tail_of(const struct sample *s)
{
    return slice_str(s->tail ? s->tail : "");
}

static void take_packet(struct records *made, int end, const struct sample *s)
{
    static const size_t head[] = {2, 1, 1, 4};
    static const char *const names[] = {"head.len", "head.type", "head.padding", "head.id"};
    struct record *r = record_begin(made, msg_type_name(s->type));
    unsigned char packet[IPC_PACKET_MAX];
    ssize_t n = recv(end, packet, sizeof packet, 0);
    size_t used = sizeof(struct msg_head) + msg_body_size(s->type) + tail_of(s).n;

    INSIST(n > 0 && (size_t)n >= used);
    record_add(r, packet, (size_t)n);
    for (size_t i = 0; i < 4; i++)
        record_member(r, names[i], head[i]);
    for (size_t i = 0; i < s->members.members_n; i++)
        record_member(r, s->members.members[i].name, s->members.members[i].n);
    record_member(r, "tail", tail_of(s).n);
    record_member(r, "padding", (size_t)n - used);
}

/* As a channel of today sends them, one packet each. */
static struct records *make_messages(void)
{
    struct records *made = calloc(1, sizeof *made);
    struct err err;
    struct loop *loop = loop_new(&err);
    struct channels all;
    struct channel ch;
    int ends[2];

    INSIST(made && loop && channel_pair(ends, &err) == 0);
    channels_init(&all, loop);
    for (size_t i = 0; i < SAMPLES; i++) {
        struct sample *s = sample_new(i);

        if (i == 0)
            channel_open(&ch, &all, ends[0], (const struct msg_hello *)(const void *)s->body,
                         &events);
        else
            channel_send(&ch, s->type, s->id, s->body, tail_of(s),
                         msg_has_fd(s->type) ? dup(ends[1]) : -1);
        channel_flush(&ch);
        take_packet(made, ends[1], s);
        free(s);
    }
    channel_close(&ch);
    close(ends[1]);
    loop_free(&loop);
    return made;
}

static struct records *recorded_messages(void)
{
    return records_read(WIRE_DATA "/messages-1.txt");
}

static void test_every_message_has_a_sample_with_all_that_it_may_have(void **state)
{
    (void)state;
    for (unsigned type = MSG_NONE; type < MSG_TYPE_COUNT; type++) {
        size_t i = 0;

        if (!msg_is_type(type))
            continue;
        while (i < SAMPLES && samples[i].type != type)
            i++;
        if (i == SAMPLES)
            fail_msg("%s has no sample in tests/unit/wire_samples.h", msg_type_name(type));
        if (msg_has_tail(type) != (samples[i].tail != NULL))
            fail_msg("%s: the sample has a tail, or lacks it", msg_type_name(type));
    }
}

static void test_todays_messages_are_those_of_version_1(void **state)
{
    struct records *recorded = recorded_messages(), *made = make_messages();

    (void)state;
    for (size_t i = 0; i < made->n; i++)
        assert_as_recorded(&made->all[i], recorded);
    /* None has gone either. */
    for (size_t i = 0; i < recorded->n; i++) {
        if (!record_find(made, recorded->all[i].name))
            fail_msg("%s is gone: " WHAT_TO_DO, recorded->all[i].name);
    }
    free(recorded);
    free(made);
}

static void assert_understood(const struct sample *s, const struct record *r)
{
    _Alignas(8) char packet[RECORD_BYTES];
    struct msg m;

    memcpy(packet, r->bytes, r->n);
    if (msg_parse(slice_of(packet, r->n), &m) != r->n || m.type != s->type || m.id != s->id)
        fail_msg("%s is not understood: " WHAT_TO_DO, r->name);
    for (size_t i = 0; i < s->members.members_n; i++) {
        const struct member *part = &s->members.members[i];

        if (memcmp((const char *)m.body + part->at, s->body + part->at, part->n) != 0)
            fail_msg("%s, %s: " WHAT_TO_DO, r->name, part->name);
    }
    if (!slice_eq(m.tail, tail_of(s)))
        fail_msg("%s, tail: " WHAT_TO_DO, r->name);
}

static void test_messages_of_version_1_are_understood(void **state)
{
    struct records *recorded = recorded_messages();

    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct sample *s = sample_new(i);
        const struct record *r = record_find(recorded, msg_type_name(s->type));

        if (!r)
            fail_msg("%s: nothing is recorded: " WHAT_TO_DO, msg_type_name(s->type));
        assert_understood(s, r);
        free(s);
    }
    free(recorded);
}

/* --- numbers --------------------------------------------------------------------------------- */

#define ROLES(N) \
    N(ROLE_PARENT, 0) N(ROLE_CONTROL, 1) N(ROLE_WORKER, 2) N(ROLE_LOOKUP, 3) N(ROLE_PREPARE, 4)
#define PEER_FLAGS(N)      N(PEER_RETIRED, 1)
#define CHANGES(N)         N(CHANGE_RELOAD, 0) N(CHANGE_UPGRADE, 1)
#define CHANGE_STATUSES(N) N(CHANGE_TOLD, 0) N(CHANGE_DONE, 1) N(CHANGE_REFUSED, 2)
#define PREPARED_DOORS(N)  N(DOOR_KEPT, 0) N(DOOR_NEW, 1) N(DOOR_NONE, 2)
#define NAME_KINDS(N)      N(NAME_LISTENER, 0) N(NAME_POOL, 1) N(NAME_BACKEND, 2)
#define SHARED_IDS(N)      N(SHARED_AFFINITY, 0) N(SHARED_PENALTIES, 1) N(SHARED_KNOWN, 2)
#define MECHS(N)           N(MECH_LOGIN, 0) N(MECH_PLAIN, 1) N(MECH_SASL_LOGIN, 2)
#define LEASE_FLAGS(N)     N(LEASE_IS_TRIAL, 1) N(LEASE_VERIFY, 2)
#define RESULTS(N)  \
    N(RESULT_OK, 0) \
    N(RESULT_REFUSED, 1) N(RESULT_FAILED, 2) N(RESULT_DENIED, 3) N(RESULT_WITHDRAWN, 4)
#define FAULTS(N) N(FAULT_BACKEND, 0) N(FAULT_OURS, 1)
#define REFUSALS(N)           \
    N(REFUSE_UNAVAILABLE, 0)  \
    N(REFUSE_INUSE, 1)        \
    N(REFUSE_MAX_SESSIONS, 2) \
    N(REFUSE_MAX_ADDRESS, 3)  \
    N(REFUSE_MAX_USER, 4)     \
    N(REFUSE_PENALTY, 5) N(REFUSE_DISABLED, 6) N(REFUSE_CREDENTIALS, 7) N(REFUSE_OUTDATED, 8)
#define KICKS(N)          N(KICK_OPERATOR, 0) N(KICK_MOVED, 1) N(KICK_DOWN, 2)
#define REPLAY_STAGES(N)  N(REPLAY_OPEN, 0) N(REPLAY_LEASED, 1) N(REPLAY_RELAY, 2)
#define FACTS_STATUSES(N) N(FACTS_FOUND, 0) N(FACTS_UNKNOWN, 1) N(FACTS_UNAVAILABLE, 2)
#define VERIFIEDS(N)      N(VERIFIED_OK, 0) N(VERIFIED_REFUSED, 1) N(VERIFIED_UNAVAILABLE, 2)

/* Those whose enum counts them. */
#define NONE(N)
#define COUNT_ROLE(N)   N(ROLE_COUNT, 5)
#define COUNT_MECH(N)   N(MECH_COUNT, 3)
#define COUNT_SHARED(N) N(SHARED_COUNT, 3)

static void assert_number(const char *name, unsigned is, unsigned was)
{
    if (is != was)
        fail_msg("%s was %u and is %u: " WHAT_TO_DO, name, was, is);
}

#define CASE(name, number) case name:
#define IS(name, number)   assert_number(#name, name, number);

/* The numbers that were given to the words of an enum for ever. A word that is missing above, which
 * the compiler tells at the switch, is new, and needs a new version as any change does. */
#define NUMBERS(tag, LIST, COUNT)           \
    static void check_##tag(enum tag first) \
    {                                       \
        switch (first) {                    \
            LIST(CASE) COUNT(CASE) break;   \
        }                                   \
        LIST(IS)                            \
    }

NUMBERS(role, ROLES, COUNT_ROLE)
NUMBERS(peer_flag, PEER_FLAGS, NONE)
NUMBERS(change_kind, CHANGES, NONE)
NUMBERS(change_status, CHANGE_STATUSES, NONE)
NUMBERS(prepared_door, PREPARED_DOORS, NONE)
NUMBERS(name_kind, NAME_KINDS, NONE)
NUMBERS(shared_id, SHARED_IDS, COUNT_SHARED)
NUMBERS(mech, MECHS, COUNT_MECH)
NUMBERS(lease_flag, LEASE_FLAGS, NONE)
NUMBERS(result, RESULTS, NONE)
NUMBERS(fault, FAULTS, NONE)
NUMBERS(refuse, REFUSALS, NONE)
NUMBERS(kick, KICKS, NONE)
NUMBERS(replay_stage, REPLAY_STAGES, NONE)
NUMBERS(facts_status, FACTS_STATUSES, NONE)
NUMBERS(verified, VERIFIEDS, NONE)

static void test_words_keep_their_numbers(void **state)
{
    (void)state;
    check_role(ROLE_PARENT);
    check_peer_flag(PEER_RETIRED);
    check_change_kind(CHANGE_RELOAD);
    check_change_status(CHANGE_TOLD);
    check_prepared_door(DOOR_KEPT);
    check_name_kind(NAME_LISTENER);
    check_shared_id(SHARED_AFFINITY);
    check_mech(MECH_LOGIN);
    check_lease_flag(LEASE_IS_TRIAL);
    check_result(RESULT_OK);
    check_fault(FAULT_BACKEND);
    check_refuse(REFUSE_UNAVAILABLE);
    check_kick(KICK_OPERATOR);
    check_replay_stage(REPLAY_OPEN);
    check_facts_status(FACTS_FOUND);
    check_verified(VERIFIED_OK);
}

/* What is larger is malformed to an older process, or would not fit it. */
static void test_limits_of_messages_stay(void **state)
{
    (void)state;
    assert_number("IPC_USER_MAX", IPC_USER_MAX, 512);
    assert_number("IPC_TEXT_MAX", IPC_TEXT_MAX, 1152);
    assert_number("IPC_ADDRESSES_MAX", IPC_ADDRESSES_MAX, 8);
    assert_number("IPC_MESSAGE_MAX", IPC_MESSAGE_MAX, 4096);
    assert_number("IPC_PACKET_MAX", IPC_PACKET_MAX, 16384);
    assert_number("VERIFY_PASSWORD_MAX", VERIFY_PASSWORD_MAX, 511);
    assert_number("TICKET_KEYS", TICKET_KEYS, 3);
    assert_number("TICKET_KEY", TICKET_KEY, 80);
}

/* --- notes in shared memory ------------------------------------------------------------------ */

/* Where things are: the header, a bit for each part that is in use, and a note, which lies in the
 * first slot of its bucket. */
enum { PARTS_AT = 48, NOTE_AT = 4096 + 300 * 8 * 32 };

static const struct hash128 note_key = {0x1111222233334444, 300 + 3 * UINT64_C(131072)};
static const struct shared_note note = {0x5555666677778888, 86400};

/* That is there: file and test come from one tree. */
static const struct record *part_of(const struct records *from, const char *name)
{
    const struct record *r = record_find(from, name);

    INSIST(r != NULL);
    return r;
}

static void read_part(struct record *r, int fd, off_t at, size_t n)
{
    char bytes[64];

    INSIST(n <= sizeof bytes && pread(fd, bytes, n, at) == (ssize_t)n);
    record_add(r, bytes, n);
}

static void write_part(int fd, const struct records *from, const char *name, off_t at)
{
    const struct record *r = part_of(from, name);

    assert_int_equal(pwrite(fd, r->bytes, r->n, at), r->n);
}

static struct shared *map_notes(int fd)
{
    struct shared *shared;
    const char *lost;
    struct err err;

    assert_int_equal(shared_map(fd, &shared, &lost, &err), 0);
    if (lost)
        fail_msg("notes of version 3, %s: " WHAT_TO_DO, lost);
    return shared;
}

/* Writes the note, and reads what is in the memory then. */
static struct records *make_notes(int fd)
{
    struct records *made = calloc(1, sizeof *made);
    struct shared *shared = map_notes(fd);
    struct record *r;

    INSIST(made);
    shared_put(shared, note_key, &note, NULL, NULL);
    shared_unmap(&shared);
    r = record_begin(made, "header");
    read_part(r, fd, 0, PARTS_AT);
    record_member(r, "magic", 8);
    record_member(r, "version", 4);
    record_member(r, "slot_bytes", 4);
    record_member(r, "bytes", 8);
    record_member(r, "salt.high", 8);
    record_member(r, "salt.low", 8);
    record_member(r, "check", 8);
    r = record_begin(made, "parts");
    read_part(r, fd, PARTS_AT, 8);
    record_member(r, "parts", 8);
    r = record_begin(made, "note");
    read_part(r, fd, NOTE_AT, 32);
    record_member(r, "key.high", 8);
    record_member(r, "key.low", 8);
    record_member(r, "value", 8);
    record_member(r, "time_s", 4);
    record_member(r, "check", 4);
    return made;
}

static int empty_memory(size_t size)
{
    int fd = memfd_create("recorded", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    return fd;
}

static struct records *recorded_notes(void)
{
    return records_read(WIRE_DATA "/notes-3.txt");
}

static void test_a_note_of_version_3_is_found_and_forgotten(void **state)
{
    struct records *recorded = recorded_notes();
    int fd = empty_memory(4096 + ((size_t)32 << 20));
    struct shared_note found = {0};
    struct shared *shared;

    (void)state;
    write_part(fd, recorded, "header", 0);
    write_part(fd, recorded, "parts", PARTS_AT);
    write_part(fd, recorded, "note", NOTE_AT);
    shared = map_notes(fd);
    assert_true(shared_find(shared, note_key, note.time_s, 0, &found));
    assert_int_equal(found.value, note.value);
    assert_int_equal(found.time_s, note.time_s);
    /* By the parts that are in use. */
    assert_int_equal(shared_remove_value(shared, note.value), 1);
    assert_false(shared_find(shared, note_key, note.time_s, 0, &found));
    shared_unmap(&shared);
    close(fd);
    free(recorded);
}

static void test_todays_notes_are_those_of_version_3(void **state)
{
    struct records *recorded = recorded_notes(), *made;
    int fd = empty_memory(4096 + ((size_t)32 << 20));

    (void)state;
    write_part(fd, recorded, "header", 0);
    made = make_notes(fd);
    for (size_t i = 0; i < made->n; i++)
        assert_as_recorded(&made->all[i], recorded);
    close(fd);
    free(made);
    free(recorded);
}

static void test_a_fresh_memory_of_notes_is_of_version_3(void **state)
{
    struct records *recorded = recorded_notes(), *made;
    struct err err;
    int fd = shared_create(&err);

    (void)state;
    made = make_notes(fd);
    /* But for the salt, and the check because of it. */
    made->all[0].n = 24;
    made->all[0].members_n = 4;
    assert_memory_equal(made->all[0].bytes, part_of(recorded, "header")->bytes, 24);
    close(fd);
    free(made);
    free(recorded);
}

/* --- counters -------------------------------------------------------------------------------- */

enum { COUNTED = 0x77, BLOCKS_AT = 65536 };

/* A memory of today in which the second process has counted logins. Its names may change. */
static struct records *make_counters(void)
{
    struct records *made = calloc(1, sizeof *made);
    struct layout header;
    struct record *r;
    struct err err;
    int fd = counters_create(&err);
    struct counters *blocks = counters_map(fd, &err);

    INSIST(made && blocks);
    counters_add(&blocks[1], METRIC_LOGINS, COUNTED);
    munmap(blocks, sizeof *blocks * COUNTERS_BLOCKS);
    INSIST(pread(fd, &header, sizeof header, 0) == sizeof header);
    r = record_begin(made, "header");
    record_add(r, &header, 32);
    record_member(r, "magic", 8);
    record_member(r, "version", 4);
    record_member(r, "metrics_n", 4);
    record_member(r, "blocks_n", 4);
    record_member(r, "block_bytes", 4);
    record_member(r, "reserved", 8);
    r = record_begin(made, "names");
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        record_add(r, metric_name(i), strlen(metric_name(i)) + 1);
        record_member(r, metric_name(i), strlen(metric_name(i)) + 1);
    }
    INSIST(memcmp(header.names, r->bytes, r->n) == 0);
    r = record_begin(made, "logins");
    read_part(r, fd, BLOCKS_AT + header.block_bytes + METRIC_LOGINS * 8, 8);
    record_member(r, "value", 8);
    close(fd);
    return made;
}

static struct records *recorded_counters(void)
{
    return records_read(WIRE_DATA "/counters-1.txt");
}

/* As recorded: 66 blocks of 192 bytes, the third of the names is "logins". */
static void test_counters_of_version_1_are_added_up(void **state)
{
    struct records *recorded = recorded_counters();
    int fd = empty_memory(BLOCKS_AT + 66 * 192);
    struct tally *tally = tally_new();
    struct err err;

    (void)state;
    write_part(fd, recorded, "header", 0);
    write_part(fd, recorded, "names", 32);
    write_part(fd, recorded, "logins", BLOCKS_AT + 192 + 2 * 8);
    if (tally_add(tally, fd, &err) < 0)
        fail_msg("%s: " WHAT_TO_DO, err.text);
    assert_int_equal(tally_total(tally, METRIC_LOGINS), COUNTED);
    assert_int_equal(tally_total(tally, METRIC_SESSIONS), 0);
    tally_free(&tally);
    free(recorded);
}

static void test_todays_counters_are_those_of_version_1(void **state)
{
    struct records *recorded = recorded_counters(), *made = make_counters();

    (void)state;
    /* How many metrics and blocks there are may change, and the names. */
    memcpy(made->all[0].bytes + 12, part_of(recorded, "header")->bytes + 12, 12);
    assert_as_recorded(&made->all[0], recorded);
    assert_as_recorded(&made->all[2], recorded);
    free(recorded);
    free(made);
}

/* --------------------------------------------------------------------------------------------- */

static struct records *make(const char *what)
{
    struct err err;

    if (strcmp(what, "messages") == 0)
        return make_messages();
    if (strcmp(what, "notes") == 0)
        return make_notes(shared_create(&err));
    return strcmp(what, "counters") == 0 ? make_counters() : NULL;
}

static int print(const char *what)
{
    struct records *made = make(what);

    if (!made)
        return 2;
    printf("# Recorded bytes: %s. tests/unit/test_wire.c says what of, and when this may change.\n",
           what);
    for (size_t i = 0; i < made->n; i++)
        record_print(&made->all[i]);
    free(made);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_has_a_sample_with_all_that_it_may_have),
        cmocka_unit_test(test_todays_messages_are_those_of_version_1),
        cmocka_unit_test(test_messages_of_version_1_are_understood),
        cmocka_unit_test(test_words_keep_their_numbers),
        cmocka_unit_test(test_limits_of_messages_stay),
        cmocka_unit_test(test_a_note_of_version_3_is_found_and_forgotten),
        cmocka_unit_test(test_todays_notes_are_those_of_version_3),
        cmocka_unit_test(test_a_fresh_memory_of_notes_is_of_version_3),
        cmocka_unit_test(test_counters_of_version_1_are_added_up),
        cmocka_unit_test(test_todays_counters_are_those_of_version_1),
    };

    if (argc == 3 && strcmp(argv[1], "print") == 0)
        return print(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
