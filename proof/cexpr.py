"""Reads functions out of C source and runs them on bit vectors of z3, one result for each path.

It knows the C that memarena's arithmetic is written in: integers of 32 and 64 bits with the usual conversions, calls of
other such functions, if, return, for (;;) run once. Pointers are names only: pool->base is the variable "pool->base".
Whatever it does not know is an error."""
import re

from z3 import (And, BitVec, BitVecVal, Bool, BoolVal, Extract, If, LShR, Not, Or, SignExt, UDiv, UGE, UGT,
                ULE, ULT, ZeroExt, simplify)

TOKEN = re.compile(r'\s*(->|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|[A-Za-z_]\w*|0[xX][0-9A-Fa-f]+[uUlL]*|\d+[uUlL]*|\S)')
LEVELS = [['||'], ['&&'], ['|'], ['^'], ['&'], ['==', '!='], ['<', '<=', '>', '>='], ['<<', '>>'], ['+', '-'],
          ['*', '/', '%']]


class Number:
    def __init__(self, bits, signed=False):
        self.bits, self.signed, self.width = bits, signed, bits.size()

    def to(self, width, signed):
        bits = self.bits
        if width < self.width:
            bits = Extract(width - 1, 0, bits)
        elif width > self.width:
            bits = (SignExt if self.signed else ZeroExt)(width - self.width, bits)
        return Number(bits, signed)


def truth(value):
    return value.bits != 0 if isinstance(value, Number) else value


def number(value):
    if isinstance(value, Number):
        return value
    return Number(If(value, BitVecVal(1, 32), BitVecVal(0, 32)), True)


class Source:
    def __init__(self, texts, address_bits):
        self.text = re.sub(r'/\*.*?\*/', ' ', '\n'.join(texts), flags=re.S)
        self.macros = dict(re.findall(r'^#\s*define\s+(\w+)[ \t]+(\S.*)$', self.text, re.M))
        self.types = {'uint64_t': (64, False), 'int64_t': (64, True), 'uint32_t': (32, False), 'unsigned': (32, False),
                      'uintptr_t': (address_bits, False), 'size_t': (address_bits, False), 'bool': (32, True),
                      'ma_claim': (32, False)}
        self.cache = {}

    def function(self, name):
        if name not in self.cache:
            found = re.search(r'(?<![\w>])(\w+)\s+\*?' + name + r'\(([^;{}]*)\)\s*\{', self.text)
            if not found:
                raise SyntaxError('no function ' + name)
            depth, at = 1, found.end()
            while depth:
                depth += {'{': 1, '}': -1}.get(self.text[at], 0)
                at += 1
            parameters = [p.split() for p in found.group(2).split(',')]
            parameters = [(p[0] if p[0] != 'const' else p[1], p[-1].lstrip('*')) for p in parameters]
            self.cache[name] = (found.group(1), parameters, TOKEN.findall(self.text[found.end() - 1:at]))
        return self.cache[name]


class Path:
    """What holds on one way through a function: conditions, variables, events (returns, reached builtins)."""

    def __init__(self, source, variables, conditions=()):
        self.source, self.variables, self.conditions = source, variables, list(conditions)
        self.result, self.unreachable = None, False

    def fork(self, condition):
        other = Path(self.source, dict(self.variables), self.conditions + [condition])
        other.stores = dict(getattr(self, 'stores', {}))
        return other


class Run:
    """Parses and runs at once: a recursive descent over the tokens, for one path; branches are paths of their own."""

    def __init__(self, source, assumptions, results=()):
        self.source, self.assumptions, self.fresh, self.results = source, assumptions, 0, dict(results)

    # ---- Expressions: (tokens, at, path) -> (value, at) ----
    def expression(self, t, at, path, level=0):
        if level == 0:
            value, at = self.expression(t, at, path, 1)
            if t[at] != '?':
                return value, at
            first, at = self.expression(t, at + 1, path)
            second, at = self.expression(t, self.expect(t, at, ':'), path)
            if isinstance(first, str) or isinstance(second, str):
                raise SyntaxError('names in ?:')
            a, b = self.convert(number(first), number(second))
            return Number(If(truth(value), a.bits, b.bits), a.signed), at
        if level > len(LEVELS):
            return self.unary(t, at, path)
        left, at = self.expression(t, at, path, level + 1)
        while t[at] in LEVELS[level - 1]:
            operator = t[at]
            right, at = self.expression(t, at + 1, path, level + 1)
            left = self.binary(operator, left, right)
        return left, at

    @staticmethod
    def expect(t, at, token):
        if t[at] != token:
            raise SyntaxError('%s before %s' % (token, ' '.join(t[at:at + 8])))
        return at + 1

    @staticmethod
    def convert(a, b):
        width = max(a.width, b.width, 32)
        signed = all(x.signed or x.width < width for x in (a, b))
        return a.to(width, signed), b.to(width, signed)

    def binary(self, operator, left, right):
        if operator in ('&&', '||'):
            return (And if operator == '&&' else Or)(truth(left), truth(right))
        a, b = number(left), number(right)
        if operator in ('<<', '>>'):
            a = a.to(max(a.width, 32), a.signed)
            count = b.to(a.width, False).bits
            if operator == '<<':
                return Number(a.bits << count, a.signed)
            return Number(a.bits >> count if a.signed else LShR(a.bits, count), a.signed)
        a, b = self.convert(a, b)
        x, y = a.bits, b.bits
        if operator == '/':
            return Number(self.quotient(x, y), a.signed)
        if operator in '+-*&|^':
            return Number({'+': lambda: x + y, '-': lambda: x - y, '*': lambda: x * y, '&': lambda: x & y,
                           '|': lambda: x | y, '^': lambda: x ^ y}[operator](), a.signed)
        if operator == '%':
            raise SyntaxError('%')
        if a.signed:
            return {'<': x < y, '<=': x <= y, '>': x > y, '>=': x >= y, '==': x == y, '!=': x != y}[operator]
        return {'<': ULT(x, y), '<=': ULE(x, y), '>': UGT(x, y), '>=': UGE(x, y), '==': x == y,
                '!=': x != y}[operator]

    def quotient(self, x, y):
        """By a constant: as it is. Else what division means, told for quotients below 64, and that others are larger.
        Sound where 64 * y does not overflow, which the callers' assumptions must say."""
        y = simplify(y)
        if hasattr(y, 'as_long'):
            return UDiv(x, y)
        self.fresh += 1
        width, name = x.size(), 'quotient%d' % self.fresh
        small, large, is_large = BitVec(name, 6), BitVec(name + 'large', width), Bool(name + 'is_large')
        product = ZeroExt(width - 6, small) * y
        self.assumptions.append(Or(y == 0, And(is_large, UGE(large, 64), UGE(x, 64 * y)),
                                   And(Not(is_large), ULE(product, x), ULT(x, (ZeroExt(width - 6, small) + 1) * y))))
        return If(is_large, large, ZeroExt(width - 6, small))

    def unary(self, t, at, path):
        token = t[at]
        if token in ('~', '-', '!'):
            value, at = self.unary(t, at + 1, path)
            if token == '!':
                return Not(truth(value)), at
            value = number(value)
            return Number(~value.bits if token == '~' else -value.bits, value.signed), at
        if token == '&':
            return self.name(t, at + 1)
        if token == '(':
            if t[at + 1] in self.source.types and t[at + 2] == ')':
                value, after = self.unary(t, at + 3, path)
                return number(value).to(*self.source.types[t[at + 1]]), after
            if t[at + 2] == ')' and t[at + 3] == '{':
                return self.literal(t, at + 4, path)
            value, at = self.expression(t, at + 1, path)
            return value, self.expect(t, at, ')')
        if token[0].isdigit():
            width = 64 if token.lower().rstrip('u').endswith('l') or int(token.rstrip('uUlL'), 0) >= 1 << 31 else 32
            return Number(BitVecVal(int(token.rstrip('uUlL'), 0), width), 'u' not in token.lower()), at + 1
        name, after = self.name(t, at)
        if t[after] == '(':
            return self.call(name, t, after + 1, path)
        if name in path.variables:
            return path.variables[name], after
        if name in self.source.macros:
            tokens = TOKEN.findall(self.source.macros[name]) + [';']
            return self.expression(tokens, 0, path)[0], after
        if name in ('true', 'false'):
            return BoolVal(name == 'true'), after
        return name, after

    @staticmethod
    def name(t, at):
        name, at = t[at], at + 1
        while t[at] in ('->', '.', '['):
            if t[at] == '[':
                end = t.index(']', at)
                name, at = name + '[' + ''.join(t[at + 1:end]) + ']', end + 1
            else:
                name, at = name + '->' + t[at + 1], at + 2
        return name, at

    def literal(self, t, at, path):
        fields = {}
        while t[at] != '}':
            name = t[self.expect(t, at, '.')]
            fields[name], at = self.expression(t, self.expect(t, at + 2, '='), path)
            if t[at] == ',':
                at += 1
        return fields, at + 1

    def call(self, name, t, at, path):
        arguments = []
        if name == 'MEMARENA_POINTER_':  # (type, address)
            at = t.index(',', at) + 1
        while t[at] != ')':
            value, at = self.expression(t, at, path)
            arguments.append(value)
            if t[at] == ',':
                at += 1
        at += 1
        if name in ('MEMARENA_LIKELY_', 'MEMARENA_ADDRESS_', 'MEMARENA_POINTER_'):
            return arguments[0], at
        if name.startswith('ma_load_') or name == '__atomic_load_n':
            return path.variables.get(arguments[0], arguments[0]), at
        if name == '__atomic_store_n':
            path.stores[arguments[0]] = arguments[1]
            return BoolVal(True), at
        if name in ('ma_swap_acq_rel', '__builtin_constant_p'):
            self.fresh += 1
            return Bool('%s%d' % (name, self.fresh)), at
        if name in ('__builtin_prefetch', 'memarena_alloc_slow_'):
            return Number(BitVecVal(0, 32)), at
        if name == '__builtin_clzll':
            value = number(arguments[0]).to(64, False).bits
            zeros = BitVecVal(64, 32)  # (of 0 it says nothing)
            for bit in range(64):
                zeros = If(Extract(bit, bit, value) == 1, BitVecVal(63 - bit, 32), zeros)
            return Number(zeros, True), at
        if name == '__builtin_unreachable':
            path.unreachable = True
            return BoolVal(True), at
        if name in self.results:  # any that it may give: proved elsewhere
            return self.results[name], at
        kind, parameters, body = self.source.function(name)
        variables = {k: v for k, v in path.variables.items() if '->' in k}
        for (type_, parameter), value in zip(parameters, arguments):
            if type_ in self.source.types:
                variables[parameter] = number(value).to(*self.source.types[type_])
            elif value != parameter and value is not path.variables.get(parameter):
                raise SyntaxError('%s calls its %s otherwise' % (name, parameter))
        value = None
        for one in reversed(self.statements(body, Path(self.source, variables))):
            result = number(one.result).to(*self.source.types[kind])
            value = result if value is None else Number(If(And(one.conditions + [True]), result.bits, value.bits),
                                                        result.signed)
        return value, at

    # ---- Statements: every path from here on ----
    def statements(self, t, path):
        path.stores = {}
        done = []
        for one, _ in self.statement(t, 0, [path], done):
            done.append(one)
        return done

    def statement(self, t, at, paths, done):
        """Runs one statement on each path; gives [(path, where it ends)]; paths that returned go to `done`."""
        return [item for path in paths for item in self.one(t, at, path, done)]

    def skip(self, t, at):
        """The end of the statement at `at`."""
        if t[at] == '{':
            depth = 1
            while depth:
                at += 1
                depth += {'{': 1, '}': -1}.get(t[at], 0)
            return at + 1
        if t[at] in ('if', 'for'):
            at = self.skip(t, self.after_parenthesis(t, at + 1))
            return self.skip(t, at + 1) if t[at] == 'else' else at
        depth = 0
        while t[at] != ';' or depth:
            depth += {'{': 1, '}': -1}.get(t[at], 0)
            at += 1
        return at + 1

    @staticmethod
    def after_parenthesis(t, at):
        depth = 1
        while depth:
            at += 1
            depth += {'(': 1, ')': -1}.get(t[at], 0)
        return at + 1

    def one(self, t, at, path, done):
        if t[at] == '{':
            end, live, at = self.skip(t, at), [path], at + 1
            while live and t[at] != '}':
                after = self.skip(t, at)
                live = [p for p, _ in self.statement(t, at, live, done)]
                at = after
            return [(p, end) for p in live]
        if t[at] == 'if':
            condition, then = self.expression(t, at + 2, path)
            then = self.expect(t, then, ')')
            otherwise, end = self.skip(t, then), self.skip(t, at)
            yes, no = path.fork(truth(condition)), path.fork(Not(truth(condition)))
            result = [p for p, _ in self.one(t, then, yes, done)]
            if t[otherwise] == 'else':
                result += [p for p, _ in self.one(t, otherwise + 1, no, done)]
            else:
                result.append(no)
            return [(p, end) for p in result]
        if t[at] == 'for':
            end, body = self.skip(t, at), self.after_parenthesis(t, at + 1)
            if t[at + 1:at + 5] == ['(', ';', ';', ')']:
                return [(p, end) for p, _ in self.one(t, body, path, done)]
            return [(path, end)]  # a search that changes nothing: it only says no
        if t[at] == 'return':
            path.result, after = self.expression(t, at + 1, path)
            done.append(path)
            return []
        self.simple(t, at, path)
        return [(path, self.skip(t, at))]

    def simple(self, t, at, path):
        if t[at] == '(' and t[at + 1] == 'void':
            at += 3
        declared = None
        if t[at] in ('const', 'struct') or t[at] in self.source.types or re.match(r'[A-Za-z_]', t[at + 1]):
            at += t[at] in ('const', 'struct')
            declared, at = self.source.types.get(t[at]), at + 1
        while True:
            while t[at] == '*':
                at += 1
            name, after = self.name(t, at)
            if t[after] == '=':
                value, after = self.expression(t, after + 1, path)
                if isinstance(value, dict):
                    path.variables.update({name + '->' + k: v for k, v in value.items()})
                else:
                    kind = declared or getattr(path.variables.get(name), 'width', None)
                    if kind and not isinstance(value, str):
                        was = path.variables.get(name)
                        value = number(value).to(*(declared or (was.width, was.signed)))
                    path.variables[name] = value
            elif t[after] == '(':
                after = self.expression(t, at, path)[1]
            if t[after] == ';':
                return
            at = self.expect(t, after, ',')

