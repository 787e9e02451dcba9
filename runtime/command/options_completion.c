/* options_completion.c: --completion, what a shell completes command lines by, from the tables of
 * options_tables.c. */
#include "options_internal.h"
#include <string.h>

/* Of a name, what a function of bash may be called. */
static void print_identifier(const char *name, FILE *stream)
{
    for (; *name; name++)
        fputc((*name >= '0' && *name <= '9') || (*name >= 'A' && *name <= 'Z') ||
                      (*name >= 'a' && *name <= 'z')
                  ? *name
                  : '_',
              stream);
}

/* A word of the shell's, whatever it holds. */
static void print_quoted(const char *text, FILE *stream)
{
    fputc('\'', stream);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            fputc(*text, stream);
    fputc('\'', stream);
}

/* What completes the value, as words of compgen's; NULL where nothing does. */
static const char *completed_by(const OptionRow *row, char words[static 96])
{
    if (row->kind == TEXT || row->kind == OUTPUT) /* data may be a file as well */
        return strcmp(row->value, "RUN") == 0 ? "-d" : "-f";
    if (row->kind != WORD)
        return NULL;
    snprintf(words, 96, "-W '%s'", row->value);
    for (char *bar; (bar = strchr(words, '|')) != NULL;)
        *bar = ' ';
    return words;
}

static bool is_first_row(size_t row)
{
    for (size_t i = 0; i < row; i++)
        if (strcmp(option_rows[i].name, option_rows[row].name) == 0)
            return false;
    return true;
}

static void print_values(FILE *stream)
{
    char words[96];
    for (size_t i = 0; option_rows[i].name; i++) {
        if (option_rows[i].kind == FLAG || !is_first_row(i))
            continue;
        const char *by = completed_by(&option_rows[i], words);
        fprintf(stream, "        %s | %s=) %s", option_rows[i].name, option_rows[i].name,
                by ? "compgen " : "");
        fprintf(stream, by ? "%s -- \"$word\" ;;\n" : ";;\n", by);
    }
}

static void print_options(FILE *stream)
{
    for (size_t c = 0; option_commands[c].name; c++) {
        fprintf(stream, "                %s) words='--help --version", option_commands[c].name);
        for (size_t i = 0; option_rows[i].name; i++)
            if (option_rows[i].takes & option_commands[c].bit)
                fprintf(stream, " %s", option_rows[i].name);
        fprintf(stream, "' ;;\n");
    }
}

void options_completion(const char *program, FILE *stream)
{
    fprintf(stream, "# bash completion of ");
    print_quoted(program, stream);
    fprintf(stream, ", as its --completion bash prints it.\n\n_amdim_offers_");
    print_identifier(program, stream);
    fprintf(stream, "()\n"
                    "{\n"
                    "    local command=$1 option=$2 word=$3 words=''\n"
                    "    case $option in\n");
    print_values(stream);
    fprintf(stream, "        *)\n"
                    "            case $command in\n");
    print_options(stream);
    fprintf(stream, "            esac\n"
                    "            compgen -W \"$words\" -- \"$word\"\n"
                    "            ;;\n"
                    "    esac\n"
                    "}\n\n_amdim_");
    print_identifier(program, stream);
    fprintf(stream, "()\n"
                    "{\n"
                    "    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}\n"
                    "    # Bash makes three words of --head=knn; here the first two are one again.\n"
                    "    if [[ $word == '=' ]]; then\n"
                    "        word='' option=\"$option=\"\n"
                    "    elif [[ $option == '=' ]]; then\n"
                    "        option=\"${COMP_WORDS[COMP_CWORD - 2]}=\"\n"
                    "    fi\n"
                    "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
                    "        mapfile -t COMPREPLY < <(compgen -W '");
    for (size_t i = 0; option_commands[i].name; i++)
        fprintf(stream, "%s ", option_commands[i].name);
    fprintf(stream, "--help --version --completion' -- \"$word\")\n"
                    "    else\n"
                    "        mapfile -t COMPREPLY < <(_amdim_offers_");
    print_identifier(program, stream);
    fprintf(stream, " \"${COMP_WORDS[1]}\" \"$option\" \"$word\")\n"
                    "    fi\n"
                    "}\n\n"
                    "complete -o filenames -F _amdim_");
    print_identifier(program, stream);
    fprintf(stream, " ");
    print_quoted(program, stream);
    fprintf(stream, "\n");
}
