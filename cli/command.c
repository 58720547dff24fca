/* Choosing a command, help and version; see command.h. */
#include "cli/command.h"

#include "cli/config_file.h"
#include "cli/report.h"

#include <string.h>

const struct command *const commands[] = {&command_boot,    &command_run,      &command_cache, &command_runs,
                                          &command_profile, &command_disas,    &command_image, &command_ctl,
                                          &command_top,     &command_snapshot, &command_events};
const size_t command_count = TUFF_ARRAY_LEN(commands);

static const char overview_head[] = "Tuff, a virtual machine that boots stock riscv64 Linux on this computer.\n"
                                    "\n"
                                    "Usage: tuff COMMAND [OPTIONS]\n"
                                    "       tuff help COMMAND\n"
                                    "       tuff --version\n"
                                    "\n"
                                    "Commands:\n";

static const char overview_tail[] = "\n"
                                    "Start with:\n"
                                    "  tuff help boot\n"
                                    "\n"
                                    "While a guest has the terminal: Ctrl-A x leaves it, Ctrl-A h lists the keys.\n"
                                    "\n"
                                    "Exit codes:\n"
                                    "  0    the guest powered off, or you left it with Ctrl-A x\n"
                                    "  N    the code that the guest gave when it powered off (above 255: 255)\n"
                                    "  2    the command line or a file was refused; nothing was started\n"
                                    "  3    the virtual machine failed\n"
                                    "  4    the guest met a double trap that nothing takes\n"
                                    "  124  --max-insns was reached\n"
                                    "  128+ ended by a signal (130: SIGINT, 143: SIGTERM)\n";

void command_overview(FILE *out)
{
    fputs(overview_head, out);
    for (size_t i = 0; i < command_count; i++)
        fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs(overview_tail, out);
}

static int version(void)
{
    printf("tuff %s\n", TUFF_VERSION);
    return CLI_EXIT_OK;
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < command_count; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    report_error("command, %s, is not known: give boot, run or another of those that tuff --help lists", name);
    return CLI_EXIT_USAGE;
}

static int help(int argc, const char *const *argv)
{
    const struct command *command;

    if (argc > 3) {
        report_error("help, %s, is one name too many: give tuff help COMMAND", argv[3]);
        return CLI_EXIT_USAGE;
    }
    if (argc < 3) {
        command_overview(stdout);
        return CLI_EXIT_OK;
    }
    command = command_find(argv[2]);
    if (!command)
        return unknown_command(argv[2]);
    options_help(command, stdout);
    return CLI_EXIT_OK;
}

static int run_command(const struct command *command, int argc, const char *const *argv)
{
    struct option_values values;
    int code;

    if (options_parse(command, argc - 1, argv + 1, &values))
        return CLI_EXIT_USAGE;
    if (values.value[OPTION_HELP]) {
        options_help(command, stdout);
        code = CLI_EXIT_OK;
    } else if (values.value[OPTION_CONFIG] && config_file_read(values.value[OPTION_CONFIG], command, &values)) {
        code = CLI_EXIT_USAGE;
    } else {
        code = command->run(&values);
    }
    options_free(&values);
    return code;
}

static const struct command top_level = {.name = "", .options = OPTION_FOR_TOP};

static int top_level_option(int argc, const char *const *argv)
{
    struct option_values values;
    int code = CLI_EXIT_OK;

    if (options_parse(&top_level, argc, argv, &values))
        return CLI_EXIT_USAGE;
    if (values.value[OPTION_VERSION])
        code = version();
    else if (values.value[OPTION_HELP])
        command_overview(stdout);
    options_free(&values);
    return code;
}

static int dispatch(int argc, const char *const *argv)
{
    const struct command *command;

    if (argc < 2) {
        command_overview(stderr);
        return CLI_EXIT_USAGE;
    }
    if (argv[1][0] == '-')
        return top_level_option(argc, argv);
    if (strcmp(argv[1], "help") == 0)
        return help(argc, argv);
    command = command_find(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    return run_command(command, argc, argv);
}

int command_main(int argc, const char *const *argv)
{
    int code = dispatch(argc, argv);

    /* `tuff --help >/dev/full` must not look like a success. */
    if ((fflush(stdout) || ferror(stdout)) && code == CLI_EXIT_OK) {
        report_error("standard output, cannot be written: check where it goes");
        code = CLI_EXIT_INTERNAL;
    }
    return code;
}
