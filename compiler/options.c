/* options.c: a command line, argument by argument.
 *
 * getopt_long, but that what is wrong is named as it was typed. Operands are met where they stand (the `-` in
 * front of the letters asks for it), so that argv is not rearranged and the argument under way is known;
 * names of options are not guessed from how they begin, or a later option would change what a command line
 * means. */
#include "amdimc.h"

#include <string.h>
#include <unistd.h>

static const char *hint(const char *argument)
{
    return access(argument, F_OK) ? "" : "; a file of that name is written ./ in front";
}

/* `--pairs`, of `--pairs=1-to-5` as well. */
static bool is_whole(const char *argument, const char *name)
{
    size_t length = strlen(name);
    return !strncmp(argument, "--", 2) && !strncmp(argument + 2, name, length) &&
           (!argument[2 + length] || argument[2 + length] == '=');
}

static bool takes_no_value(const struct option *options, const char *argument)
{
    for (const struct option *o = options; o->name; o++)
        if (o->has_arg == no_argument && is_whole(argument, o->name))
            return true;
    return false;
}

/* What getopt met, and where. */
static int checked(const OptionReader *r, int option, int index, const char *argument)
{
    if (option == ':')
        usage_error(r->who, "%s wants a value", argument);
    else if (option == '?' && takes_no_value(r->options, argument))
        usage_error(r->who, "%.*s takes no value", (int)strcspn(argument, "="), argument);
    else if (option == '?' || (index >= 0 && !is_whole(argument, r->options[index].name)))
        usage_error(r->who, "unknown option %s%s", argument, hint(argument));
    else
        return option;
    return OPTION_WRONG;
}

int option_next(OptionReader *r)
{
    int at = optind > 0 ? optind : 1, index = -1;
    opterr = 0;
    int option = r->ended ? -1 : getopt_long(r->argc, r->argv, r->letters, r->options, &index);
    if (option != -1)
        return checked(r, option, index, r->argv[at]);
    r->ended = true;
    if (optind >= r->argc)
        return -1;
    optarg = r->argv[optind++]; /* behind `--` */
    return OPTION_OPERAND;
}
