/* options_usage.c: --help, from the tables of options_tables.c. */
#include "options_internal.h"
#include <string.h>

static void print_call(const CommandRow *command, const char *program, FILE *stream)
{
    fprintf(stream, "usage: %s %s", program, command->name);
    for (size_t i = 0; option_rows[i].name; i++) {
        const OptionRow *row = &option_rows[i];
        if (!(row->takes & command->bit))
            continue;
        bool needed = row->needs & command->bit;
        fprintf(stream, needed ? " %s%s%s" : " [%s%s%s]", row->name, row->value ? " " : "",
                row->value ? row->value : "");
    }
    fprintf(stream, "\n");
}

static void print_command(const CommandRow *command, const char *program, FILE *stream)
{
    print_call(command, program, stream);
    fprintf(stream, "\n%s\n\n", command->says);
    for (size_t i = 0; option_rows[i].name; i++) {
        char name[40];
        if (!(option_rows[i].takes & command->bit))
            continue;
        snprintf(name, sizeof name, "%s %s", option_rows[i].name,
                 option_rows[i].value ? option_rows[i].value : "");
        fprintf(stream, "  %-20s %s\n", name, option_rows[i].says);
    }
}

void options_usage(const AmdimModel *m, const char *program, const char *command, FILE *stream)
{
    const CommandRow *one = command ? option_command_named(command) : NULL;
    if (one) {
        print_command(one, program, stream);
        return;
    }
    fprintf(stream, "usage: %s COMMAND [OPTION ...]\n\nThe training program of %s, compiled from %s.\n\n",
            program, m->name, m->spec);
    for (size_t i = 0; option_commands[i].name; i++)
        fprintf(stream, "  %-9s %s\n", option_commands[i].name, option_commands[i].says);
    fprintf(stream, "\n");
    for (size_t i = 0; option_plain[i].name; i++)
        fprintf(stream, "  %s%-*s %s\n", option_plain[i].name, 17 - (int)strlen(option_plain[i].name),
                option_plain[i].value, option_plain[i].says);
    fprintf(stream, "\n`%s COMMAND --help` shows a command's options.\n", program);
}
