#include "cli/cli.h"

#include <getopt.h>
#include <limits.h>

struct command {
    const char *name; /* its words */
    const char *args;
    int least, most; /* number of further words */
    int (*run)(struct cli *c);
    const char *help;
};

static const struct command commands[] = {
    {"run", "", 0, 0, cli_run, "Serve in the foreground until SIGTERM or Ctrl-C."},
    {"setup", "DOMAIN", 1, 1, cli_setup,
     "Prepare a host from nothing: configuration, certificate, domain and first account;\n"
     "      prints the DNS records to publish. --data-dir DIR: where mail is kept;\n"
     "      --language CODE: of the account's folders (the environment's, else English)."},
    {"reload", "", 0, 0, cli_reload, "Read the configuration again; a wrong one changes nothing."},
    {"restart", "frontend|backend|scanner", 1, 1, cli_restart,
     "Start the processes of a role anew."},
    {"status", "", 0, 0, cli_show_status, "Show the processes."},
    {"domain add", "DOMAIN", 1, 1, cli_domain_add,
     "Take mail for a domain. --language CODE: of the folders of its accounts (en)."},
    {"domain alias", "NAME DOMAIN", 2, 2, cli_domain_alias,
     "Make NAME another name of a domain, for every address."},
    {"domain set", "DOMAIN", 1, 1, cli_domain_set,
     "Change --language, --catch-all ADDRESS (or none), --quota SIZE, --quota-messages N."},
    {"domain remove", "DOMAIN", 1, 1, cli_domain_remove,
     "Remove a domain without accounts and aliases."},
    {"domain list", "", 0, 0, cli_domain_list, "List the domains."},
    {"account add", "ADDRESS", 0, 1, cli_account_add,
     "Make an account; asks for its password.\n"
     "      --password-stdin reads it from standard input, --hash '{SCHEME}...' takes a hash,\n"
     "      --batch FILE (or -) makes one account per line \"ADDRESS PASSWORD-OR-HASH\"."},
    {"account remove", "ADDRESS", 1, 1, cli_account_remove, "Remove an account with all its mail."},
    {"account list", "[DOMAIN]", 0, 1, cli_account_list, "List the accounts."},
    {"account show", "ADDRESS", 1, 1, cli_account_show, "Show what is known of an account."},
    {"account set", "ADDRESS", 1, 1, cli_account_set,
     "Change --quota SIZE and --quota-messages N; none: no limit, default: the domain's."},
    {"account lock", "ADDRESS", 1, 1, cli_account_lock,
     "Let nobody log in, and end the sessions; mail is taken all the same, unless\n"
     "      --refuse-mail temporary|permanent. --reason TEXT is for you."},
    {"account unlock", "ADDRESS", 1, 1, cli_account_unlock, "Undo that."},
    {"account logout", "ADDRESS", 1, 1, cli_account_logout, "End every session of an account."},
    {"account password", "ADDRESS", 1, 1, cli_account_password,
     "Set an account's password (--password-stdin, --hash)."},
    {"alias add", "ADDRESS TARGET...", 0, INT_MAX, cli_alias_add,
     "Let an address stand for others (--batch FILE: one per line)."},
    {"alias remove", "ADDRESS [TARGET...]", 0, INT_MAX, cli_alias_remove,
     "Take targets away from an alias, or the alias (--batch FILE)."},
    {"alias list", "[DOMAIN]", 0, 1, cli_alias_list, "List the aliases with their targets."},
    {"config check", "", 0, 0, cli_config_check, "Say whether the configuration is right."},
    {"config defaults", "", 0, 0, cli_config_defaults, "Print every option with its default."},
    {"store check", "[DIRECTORY]", 0, 1, cli_store_check,
     "Verify a store that is not in use; changes nothing."},
    {"store salvage", "FROM TO", 2, 2, cli_store_salvage,
     "Make a new store TO of what can be read of a damaged one that is not in use; changes\n"
     "      nothing in FROM. Exit status 1: something is lost, which is listed; 2: could not "
     "work."},
    {"role", NULL, 1, 1, cli_role, NULL},
#ifdef THURN_PROBE
    {"probe", "ROLE INDEX ATTEMPT [TARGET]", 3, 4, cli_probe, "Attempt what a sandbox forbids."},
#endif
};

static void print_help(FILE *out)
{
    fprintf(out,
            "Usage: thurn [OPTIONS] COMMAND\n\nThurn is a complete mail platform in one program.\n"
            "\nCommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (commands[i].help)
            fprintf(out, "  %s%s%s\n      %s\n", commands[i].name, *commands[i].args ? " " : "",
                    commands[i].args, commands[i].help);
    fprintf(out, "\nOptions:\n"
                 "  -c, --config FILE   the configuration (/etc/thurn/thurn.conf)\n"
                 "  --run-dir DIR       where the control sockets are (from the configuration)\n"
                 "  --json              print answers as JSON\n"
                 "  -h, --help          this text\n"
                 "  --version           the version\n"
                 "\nExit status: 0 done, 1 failed (the reason is printed), 2 wrong usage.\n");
}

enum {
    OPT_RUN_DIR = 256,
    OPT_JSON,
    OPT_NOTE,
    OPT_STDIN,
    OPT_HASH,
    OPT_BATCH,
    OPT_DATA_DIR,
    OPT_LANGUAGE,
    OPT_CATCH_ALL,
    OPT_QUOTA,
    OPT_QUOTA_MESSAGES,
    OPT_REASON,
    OPT_REFUSE_MAIL,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"run-dir", required_argument, NULL, OPT_RUN_DIR},
    {"json", no_argument, NULL, OPT_JSON},
    {"note", no_argument, NULL, OPT_NOTE},
    {"password-stdin", no_argument, NULL, OPT_STDIN},
    {"hash", required_argument, NULL, OPT_HASH},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"data-dir", required_argument, NULL, OPT_DATA_DIR},
    {"language", required_argument, NULL, OPT_LANGUAGE},
    {"catch-all", required_argument, NULL, OPT_CATCH_ALL},
    {"quota", required_argument, NULL, OPT_QUOTA},
    {"quota-messages", required_argument, NULL, OPT_QUOTA_MESSAGES},
    {"reason", required_argument, NULL, OPT_REASON},
    {"refuse-mail", required_argument, NULL, OPT_REFUSE_MAIL},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct cli *c)
{
    for (int o; (o = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1;) {
        switch (o) {
        case 'c': c->config = optarg; break;
        case OPT_RUN_DIR: c->run_dir = optarg; break;
        case OPT_JSON: c->json = true; break;
        case OPT_NOTE: c->note = true; break;
        case OPT_STDIN: c->password_stdin = true; break;
        case OPT_HASH: c->hash = optarg; break;
        case OPT_BATCH: c->batch = optarg; break;
        case OPT_DATA_DIR: c->data_dir = optarg; break;
        case OPT_LANGUAGE: c->language = optarg; break;
        case OPT_CATCH_ALL: c->catch_all = optarg; break;
        case OPT_QUOTA: c->quota = optarg; break;
        case OPT_QUOTA_MESSAGES: c->quota_messages = optarg; break;
        case OPT_REASON: c->reason = optarg; break;
        case OPT_REFUSE_MAIL: c->refuse_mail = optarg; break;
        case OPT_VERSION: printf("thurn %s\n", THURN_VERSION); return CLI_OK;
        case 'h': print_help(stdout); return CLI_OK;
        default: fprintf(stderr, "thurn: see \"thurn --help\"\n"); return CLI_USAGE;
        }
    }
    c->words = argv + optind;
    c->n_words = argc - optind;
    return -1;
}

/* How many words of the command line the command's name takes; 0: it is another one. */
static int name_words(const struct command *cmd, const struct cli *c)
{
    struct str rest = str_c(cmd->name);
    for (int i = 0; i < c->n_words; i++) {
        size_t end = str_find_byte(rest, ' ', 0);
        if (!str_eq(str_sub(rest, 0, end), str_c(c->words[i])))
            return 0;
        if (end == rest.n)
            return i + 1;
        rest = str_skip(rest, end + 1);
    }
    return 0;
}

static int run_command(const struct command *cmd, int taken, struct cli *c)
{
    c->words += taken;
    c->n_words -= taken;
    if (c->n_words < cmd->least || c->n_words > cmd->most) {
        fprintf(stderr, "thurn: usage: thurn %s %s\n", cmd->name, cmd->args ? cmd->args : "");
        return CLI_USAGE;
    }
    return cmd->run(c);
}

int main(int argc, char **argv)
{
    struct cli c = {.config = "/etc/thurn/thurn.conf"};
    int status = parse_options(argc, argv, &c);
    if (status >= 0)
        return status;
    if (c.n_words == 0) {
        print_help(stderr);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        int taken = name_words(&commands[i], &c);
        if (taken)
            return run_command(&commands[i], taken, &c);
    }
    fprintf(stderr, "thurn: there is no command \"%s%s%s\"; see \"thurn --help\"\n", c.words[0],
            c.n_words > 1 ? " " : "", c.n_words > 1 ? c.words[1] : "");
    return CLI_USAGE;
}
