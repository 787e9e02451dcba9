/* interpreter_pairs.h: between the interpreter's two files: the operations of maps and parameters are in
 * interpreter.c, those of pairs (antecedents, scores, the NCE and their gradients) in interpreter_pairs.c. */
#ifndef INTERPRETER_PAIRS_H
#define INTERPRETER_PAIRS_H

#include "interpreter.h"

void interpret_pair_op(Interpreter *r, const Op *op);

/* result = mask(result + addend); either may be NULL. */
void interpret_tail(const Interpreter *r, const Value *result, const Value *addend, const Value *mask);

#endif
