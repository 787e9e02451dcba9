/* completion.c: see completion.h. docs/amdimc.bash-completion is a part of amdimc, byte for byte, so that the
 * file that is installed and what is printed are one; the assembler takes it in, as C17 has no #embed. */
#include "completion.h"
#include "amdimc.h"

extern const char amdimc_bash_completion[];
__asm__(".pushsection .rodata\n"
        ".globl amdimc_bash_completion\n"
        "amdimc_bash_completion:\n"
        ".incbin \"docs/amdimc.bash-completion\"\n"
        ".byte 0\n"
        ".popsection\n");

int completion_print(const char *who, const char *shell)
{
    static const char *const shells[] = {"bash"};
    if (option_word(who, "--completion ", shell, shells, COUNT(shells)) < 0)
        return EXIT_USAGE;
    return print_text(amdimc_bash_completion) ? EXIT_DONE : EXIT_FAILED;
}
