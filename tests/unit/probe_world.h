/* Probing the servers of tests/unit/probe_peers.h. */
#ifndef USHER_TESTS_UNIT_PROBE_WORLD_H
#define USHER_TESTS_UNIT_PROBE_WORLD_H

#include "probe_peers.h"

#include "ports/probe.h"

/* How long one who says nothing is waited for: where silence is a part of the test, and where
 * everybody answers. */
enum { BRIEFLY = 300, LONG = 10000 };

static struct probe_report *report;

/* Certificates of this run: of a CA, for mail.example.org. */
static struct cert ca, good, expired, alone;
static char *ca_text;

static inline struct probe_params params_of(const struct peer *p, uint32_t silence_ms)
{
    return (struct probe_params){
        .addr = p->addr,
        .name = "mail.example.org",
        .connect_ms = 10000,
        .silence_ms = silence_ms,
        .total_ms = 60000,
        .ca_pem = slice_str(ca_text),
    };
}

/* Starts the server, probes it and stops it. */
static inline void probe_with(struct peer *p, struct probe_params params)
{
    struct err err;

    peer_start(p);
    params.addr = p->addr;
    memset(report, 0xa5, sizeof *report);
    if (probe_run(&params, report, &err) != 0)
        fail_msg("%s", err.text);
    peer_stop(p);
    assert_int_equal(p->connections, report->connections);
}

static inline void probe(struct peer *p, uint32_t silence_ms)
{
    probe_with(p, params_of(p, silence_ms));
}

static inline void assert_speaks(enum speaks speaks)
{
    if (report->speaks != speaks)
        fail_msg("it speaks %s (\"%s\", \"%s\") in place of %s", speaks_name(report->speaks),
                 report->greeting, report->trouble, speaks_name(speaks));
    assert_true(report->is_connected);
}

static inline int setup(void **state)
{
    (void)state;
    report = malloc(sizeof *report);
    ca = cert_make("A CA", NULL, NULL, 30, NULL);
    good = cert_make("mail.example.org", "DNS:mail.example.org", &ca, 30, NULL);
    expired = cert_make("mail.example.org", "DNS:mail.example.org", &ca, -1, NULL);
    alone = cert_make("mail.example.org", "DNS:mail.example.org", NULL, 30, NULL);
    ca_text = cert_pem(&ca, NULL);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&good);
    cert_free(&expired);
    cert_free(&alone);
    free(ca_text);
    free(report);
    return 0;
}

#endif
