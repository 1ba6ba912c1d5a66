/*
 * cli: the thurn command. One table of commands in main.c; each command is a function that gets
 * its options and words and returns the exit status: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef THURN_CLI_H
#define THURN_CLI_H

#include "rpc/rpc.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli {
    const char *config;   /* --config */
    const char *run_dir;  /* --run-dir; NULL: from the configuration */
    bool json;            /* --json */
    bool note;            /* --note */
    bool password_stdin;  /* --password-stdin */
    const char *hash;     /* --hash */
    const char *batch;    /* --batch */
    const char *data_dir; /* --data-dir; NULL: the default */
    /* NULL: not given */
    const char *language, *catch_all, *quota, *quota_messages, *reason, *refuse_mail;
    char **words; /* what remains */
    int n_words;
};

/* -- ask.c: talking to the running thurn -- */

enum cli_whom { CLI_SUPERVISOR, CLI_BACKEND };
/* Connects; prints why not and returns -1. */
int cli_connect(const struct cli *c, enum cli_whom whom);
/* Asks and calls `each` per frame of the answer until it returns true; the exit status. */
int cli_ask(int fd, uint16_t type, const ProtobufCMessage *m,
            bool (*each)(struct frame *f, void *arg), void *arg);
/* Prints a status that is not DONE, as text or JSON; returns the exit status for it. */
int cli_status(const struct cli *c, const Thurn__Status *s);
/* Reads the configuration in this process; prints what is wrong with it. */
MUST_CHECK bool cli_config(const struct cli *c, struct arena *a, Thurn__Configuration *out);

/* -- the commands -- */

int cli_run(struct cli *c);
int cli_setup(struct cli *c);
int cli_role(struct cli *c);
int cli_config_check(struct cli *c);
int cli_config_defaults(struct cli *c);
int cli_reload(struct cli *c);
int cli_restart(struct cli *c);
int cli_show_status(struct cli *c);
int cli_probe(struct cli *c);
int cli_domain_add(struct cli *c);
int cli_domain_remove(struct cli *c);
int cli_domain_list(struct cli *c);
int cli_account_add(struct cli *c);
int cli_account_remove(struct cli *c);
int cli_account_list(struct cli *c);
int cli_account_password(struct cli *c);
int cli_domain_alias(struct cli *c);
int cli_domain_set(struct cli *c);
int cli_account_show(struct cli *c);
int cli_account_set(struct cli *c);
int cli_account_lock(struct cli *c);
int cli_account_unlock(struct cli *c);
int cli_account_logout(struct cli *c);
int cli_alias_add(struct cli *c);
int cli_alias_remove(struct cli *c);
int cli_alias_list(struct cli *c);
int cli_store_check(struct cli *c);
/* 0: all recovered, 1: something is lost, 2: could not work. */
int cli_store_salvage(struct cli *c);

#endif
