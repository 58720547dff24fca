/* A program of the build: writes what comes out of the option table besides --help. `tuff-generate man` is the manual
 * page, `markdown` the same as a page of documentation, `bash` the completion of that shell, `schema` a JSON schema of
 * what --config takes. */
#include "cli/command.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* ---- manual page (man(7)) ---- */

/* Escapes what roff would take for itself. At the start of a line also '.' and '\''. */
static void put_roff(const char *text, size_t len, bool at_start)
{
    if (at_start && len && (*text == '.' || *text == '\''))
        fputs("\\&", stdout);
    for (size_t i = 0; i < len; i++) {
        switch (text[i]) {
        case '\\':
            fputs("\\e", stdout);
            break;
        case '-':
            fputs("\\-", stdout);
            break;
        default:
            putchar(text[i]);
        }
    }
}

/* Paragraphs; lines that are indented, and those of a literal text, stay as they are. */
static void put_text(const char *text, bool literal)
{
    bool kept = literal;

    if (literal)
        puts(".nf");
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n");
        bool keep = literal || *at == ' ';
        if (keep != kept)
            puts(keep ? ".nf" : ".fi");
        kept = keep;
        if (len) {
            put_roff(at, len, true);
            putchar('\n');
        } else {
            puts(literal ? "" : ".PP");
        }
        at += len + (at[len] == '\n');
    }
    if (kept)
        puts(".fi");
}

static void put_option(const struct option_row *row)
{
    puts(".TP");
    fputs(".B ", stdout);
    if (row->letter)
        printf("\\-%c, ", row->letter);
    fputs("\\-\\-", stdout);
    put_roff(row->name, strlen(row->name), false);
    if (row->argument) {
        fputs(row->kind == OPTION_CHOICE ? "[=" : "=", stdout);
        put_roff(row->argument, strlen(row->argument), false);
        fputs(row->kind == OPTION_CHOICE ? "]" : "", stdout);
    }
    putchar('\n');
    put_text(row->help, false);
}

static void put_command(const struct command *command)
{
    const char *section = "";

    fputs(".SH TUFF ", stdout);
    for (const char *c = command->name; *c; c++)
        putchar(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    printf("\n.B tuff %s\n", command->name);
    put_roff(command->usage, strlen(command->usage), true);
    puts("\n.PP");
    put_text(command->description, false);
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (!(row->commands & command->options))
            continue;
        if (strcmp(section, row->section) != 0)
            printf(".SS %s\n", row->section);
        section = row->section;
        put_option(row);
    }
    if (command->notes) {
        puts(".SS Notes");
        put_text(command->notes, true);
    }
    puts(".SS Examples");
    put_text(command->examples, true);
}

static void man(void)
{
    printf(".\\\" Written by tuff-generate from the option table.\n.TH TUFF 1 \"\" \"tuff %s\"\n", TUFF_VERSION);
    puts(".SH NAME\ntuff \\- a virtual machine that boots stock riscv64 Linux\n.SH SYNOPSIS");
    for (size_t i = 0; i < command_count; i++) {
        printf("%s.B tuff %s\n", i ? ".br\n" : "", commands[i]->name);
        put_roff(commands[i]->usage, strlen(commands[i]->usage), true);
        putchar('\n');
    }
    puts(".SH COMMANDS");
    for (size_t i = 0; i < command_count; i++) {
        printf(".TP\n.B %s\n", commands[i]->name);
        put_text(commands[i]->summary, false);
    }
    for (size_t i = 0; i < command_count; i++)
        put_command(commands[i]);
}

/* ---- Markdown ---- */

/* Text in which nothing is markup: what would be is escaped. */
static void put_markdown(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (strchr("\\`*_<>[]|#", *at))
            putchar('\\');
        putchar(*at == '\n' ? ' ' : *at);
    }
}

static void put_markdown_option(const struct option_row *row)
{
    fputs("- `", stdout);
    if (row->letter)
        printf("-%c, ", row->letter);
    printf("--%s", row->name);
    if (row->argument)
        printf(row->kind == OPTION_CHOICE ? "[=%s]" : "=%s", row->argument);
    fputs("`: ", stdout);
    put_markdown(row->help);
    putchar('\n');
}

static void markdown(void)
{
    puts("# Commands of tuff\n\nWritten by `tuff-generate markdown` from the option table, as `tuff help COMMAND` and "
         "the manual page are.");
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = commands[i];
        const char *section = "";
        printf("\n## tuff %s\n\n```text\ntuff %s %s\n\n%s\n```\n", command->name, command->name, command->usage,
               command->description);
        for (size_t o = 0; o < option_row_count; o++) {
            const struct option_row *row = &option_rows[o];
            if (!(row->commands & command->options))
                continue;
            if (strcmp(section, row->section) != 0)
                printf("\n### %s\n\n", row->section);
            section = row->section;
            put_markdown_option(row);
        }
        if (command->notes)
            printf("\n### Notes\n\n```text\n%s```\n", command->notes);
        printf("\n### Examples\n\n```text\n%s```\n", command->examples);
    }
}

/* ---- bash ---- */

static void bash_options(const struct command *command)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->commands & command->options)
            printf(" --%s%s", row->name, row->kind == OPTION_VALUE || row->kind == OPTION_LIST ? "=" : "");
    }
}

/* The values of an option that has a list of them. */
static void bash_choices(void)
{
    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->kind != OPTION_CHOICE || strcmp(row->argument, "N") == 0)
            continue;
        printf("    --%s) COMPREPLY=($(compgen -W '", row->name);
        for (const char *c = row->argument; *c; c++)
            putchar(*c == '|' ? ' ' : *c);
        puts("' -- \"$word\")); return ;;");
    }
}

static void bash(void)
{
    puts("# bash completion of tuff, written by tuff-generate from the option table.\n"
         "_tuff() {\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} option= options\n"
         "    COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" = 1 ]; then");
    fputs("        COMPREPLY=($(compgen -W 'help --help --version", stdout);
    for (size_t i = 0; i < command_count; i++)
        printf(" %s", commands[i]->name);
    puts("' -- \"$word\"))\n"
         "        return\n"
         "    fi\n"
         "    # '=' is a word of its own: --name = value\n"
         "    if [ \"$word\" = = ]; then\n"
         "        option=${COMP_WORDS[COMP_CWORD-1]} word=\n"
         "    elif [ \"${COMP_WORDS[COMP_CWORD-1]}\" = = ]; then\n"
         "        option=${COMP_WORDS[COMP_CWORD-2]}\n"
         "    fi\n"
         "    case $option in");
    bash_choices();
    puts("    --*) compopt -o default 2>/dev/null; COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
         "    esac\n"
         "    case ${COMP_WORDS[1]} in");
    for (size_t i = 0; i < command_count; i++) {
        printf("    %s) options='", commands[i]->name);
        bash_options(commands[i]);
        puts("' ;;");
    }
    fputs("    help) options='", stdout);
    for (size_t i = 0; i < command_count; i++)
        printf(" %s", commands[i]->name);
    puts("' ;;\n"
         "    esac\n"
         "    if [[ $word == -* || ${COMP_WORDS[1]} == help ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
         "        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null\n"
         "    else\n"
         "        compopt -o default 2>/dev/null\n"
         "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
         "    fi\n"
         "}\n"
         "complete -F _tuff tuff");
}

/* ---- JSON schema of --config ---- */

static json_t *schema_of(const struct option_row *row)
{
    switch (row->kind) {
    case OPTION_FLAG:
        return json_pack("{s:s, s:s}", "description", row->help, "type", "boolean");
    case OPTION_VALUE:
        return json_pack("{s:s, s:[s, s]}", "description", row->help, "type", "string", "integer");
    case OPTION_LIST:
        return json_pack("{s:s, s:[s, s, s], s:{s:[s, s]}}", "description", row->help, "type", "string", "integer",
                         "array", "items", "type", "string", "integer");
    case OPTION_CHOICE:
        return json_pack("{s:s, s:[s, s, s]}", "description", row->help, "type", "boolean", "string", "integer");
    }
    return NULL;
}

static void schema(void)
{
    json_t *properties = json_object();

    for (size_t i = 0; i < option_row_count; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->commands & OPTION_FOR_BOOT && row->id != OPTION_CONFIG && row->id != OPTION_HELP)
            json_object_set_new(properties, row->name, schema_of(row));
    }
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:b, s:o}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title",
                  "tuff boot --config", "type", "object", "additionalProperties", 0, "properties", properties);
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "man") == 0)
        man();
    else if (argc == 2 && strcmp(argv[1], "markdown") == 0)
        markdown();
    else if (argc == 2 && strcmp(argv[1], "bash") == 0)
        bash();
    else if (argc == 2 && strcmp(argv[1], "schema") == 0)
        schema();
    else
        return 2;
    return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
