/* options.c: a command line, argument by argument.
 *
 * getopt_long, but that what is wrong is named as it was typed. Operands are met where they stand (the `-` in
 * front of the letters asks for it), so that argv is not rearranged and the argument under way is known;
 * names of options are not guessed from how they begin, or a later option would change what a command line
 * means. */
#include "amdimc.h"

#include <string.h>
#include <unistd.h>

/* What may have been meant, behind an option that is not there. */
static void say_unknown(const OptionReader *r, const char *argument)
{
    static const char *const letter[] = {"o", "h", "q"};
    Nearest nearest;
    nearest_begin(&nearest, argument, strcspn(argument, "="));
    for (const struct option *o = r->options; o->name; o++)
        nearest_try(&nearest, o->name);
    for (size_t i = 0; i < COUNT(letter); i++)
        if (strchr(r->letters, *letter[i]))
            nearest_try(&nearest, letter[i]);
    const char *file = access(argument, F_OK) ? "" : "; a file of that name is written ./ in front";
    if (!nearest.word)
        usage_error(r->who, "unknown option %s%s", argument, file);
    else
        usage_error(r->who, "unknown option %s%s; did you mean %s%s?", argument, file,
                    nearest.word[1] ? "--" : "-", nearest.word);
}

int option_word(const char *who, const char *option, const char *value, const char *const *word, size_t count)
{
    char list[256] = "";
    Nearest nearest;
    nearest_begin(&nearest, value, strlen(value));
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(value, word[i]))
            return (int)i;
        nearest_try(&nearest, word[i]);
        const char *between = i == 0 ? "" : i + 1 < count ? ", " : " or ";
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", between, word[i]);
    }
    if (nearest.word)
        usage_error(who, "%s%s is not there: %s; did you mean %s?", option, value, list, nearest.word);
    else
        usage_error(who, "%s%s is not there: %s", option, value, list);
    return -1;
}

int option_spec(const char *who, const char **spec, const char *word)
{
    if (*spec)
        return usage_error(who, "one spec at a time: %s is one too many", word);
    *spec = word;
    return GO_ON;
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

/* `--batch --check`, where getopt takes the next option for the value. */
static bool has_option_for_value(const OptionReader *r, int at)
{
    if (optind != at + 2 || !optarg)
        return false;
    for (const struct option *o = r->options; o->name; o++)
        if (is_whole(optarg, o->name))
            return true;
    return false;
}

/* What getopt met, and where. */
static int checked(const OptionReader *r, int option, int index, int at)
{
    const char *argument = r->argv[at];
    if (option == ':' || has_option_for_value(r, at))
        usage_error(r->who, "%s wants a value", argument);
    else if (option == '?' && takes_no_value(r->options, argument))
        usage_error(r->who, "%.*s takes no value", (int)strcspn(argument, "="), argument);
    else if (option == '?' || (index >= 0 && !is_whole(argument, r->options[index].name)))
        say_unknown(r, argument);
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
        return checked(r, option, index, at);
    r->ended = true;
    if (optind >= r->argc)
        return -1;
    optarg = r->argv[optind++]; /* behind `--` */
    return OPTION_OPERAND;
}
