"""Proves the arithmetic of sizes, offsets and alignments for all values, from the text of the sources.

usage: arithmetic.py SOURCE-DIRECTORY

Then breaks the sources, in memory, one line at a time: each proof must fail for what is broken."""
import os
import sys
import time

from z3 import (And, BitVec, BitVecVal, Bool, BoolVal, Extract, LShR, Not, Or, Then, UGE, UGT, ULE, ULT, ZeroExt, sat,
                substitute, unsat)

from cexpr import Number, Path, Run, Source, number

FILES = ['src/shard/word.h', 'src/shard/pool.h', 'src/shard/pool.c', 'src/base/arena.h', 'include/memarena.h']
MAX = (1 << 47) - 8  # MA_CAPACITY_MAX, as the claim is meant
GRAIN = 8


class Failed(Exception):
    pass


class NoAnswer(Exception):
    pass


def new_solver():
    """Of several ways, the one that was quickest here by four times."""
    solver = Then('simplify', 'propagate-values', 'solve-eqs', 'elim-uncnstr', 'simplify', 'ctx-simplify', 'simplify',
                  'bit-blast', 'sat').solver()
    solver.set('timeout', 60000)
    return solver


class Proof:
    def __init__(self, texts, address_bits):
        self.source, self.address_bits = Source(texts, address_bits), address_bits
        self.assumptions, self.cases = [], []

    def variable(self, name, kind='uint64_t'):
        width, signed = self.source.types[kind]
        return Number(BitVec(name, width), signed)

    def run(self, function, variables, results=()):
        """All paths; `variables` are parameters and fields that it meets, `results` those of functions left out."""
        _, _, body = self.source.function(function)
        return Run(self.source, self.assumptions, results).statements(body, Path(self.source, dict(variables)))

    def always(self, what, claim, *given):
        """For each value of what is `cases`, one after the other: constants make masks and products easy."""
        wrong = And(*self.assumptions, *given, Not(claim))
        for case in self.cases or [[]]:
            solver = new_solver()
            solver.add(substitute(wrong, *case))
            answer = solver.check()
            if answer == sat:
                raise Failed('%s (%d-bit addresses): %s' % (what, self.address_bits, solver.model()))
            if answer != unsat:
                raise NoAnswer('%s (%d-bit addresses): no answer in time' % (what, self.address_bits))

    def possible(self, what, *given):
        """A proof from conditions that nothing meets proves nothing."""
        solver = new_solver()
        solver.add(*self.assumptions, *given)
        if str(solver.check()) != 'sat':
            raise Failed('%s (%d-bit addresses): never happens' % (what, self.address_bits))


def is_power(x):
    return And(x != 0, x & (x - 1) == 0)


def grains(x):
    return x & (GRAIN - 1) == 0


def prove_width(p):
    capacity = p.variable('capacity')
    (path,) = p.run('ma_word_offset_bits', {'capacity': capacity})
    bits, count = number(path.result).to(64, False).bits, LShR(capacity.bits, 3)
    given = ULE(capacity.bits, MAX + GRAIN - 1)
    p.always('the capacity fits into an offset', LShR(count, bits) == 0, given)
    p.always('and not with one bit less', Or(bits == 4, LShR(count, bits - 1) != 0), given)
    p.always('a tag has 20 to 60 bits', And(UGE(bits, 4), ULE(bits, 44)), given)


def prove_words(p):
    generation, other, offset, start = (p.variable(n) for n in ('generation', 'other', 'offset', 'start'))
    width = p.variable('offset_bits', 'unsigned')
    g, h, o = generation.bits, other.bits, offset.bits
    n = width.to(64, False).bits
    call = Run(p.source, p.assumptions)

    def of(name, *values):
        names = ['v%d' % i for i in range(len(values))]
        text = [name, '('] + ' '.join(n + ' ,' for n in names).split()[:-1] + [')', ';']
        return call.expression(text, 0, Path(p.source, dict(zip(names, values))))[0]
    p.cases = [[(width.bits, BitVecVal(k, 32))] for k in range(4, 45)]  # prove_width
    fits = And(grains(o), LShR(LShR(o, 3), n) == 0)
    word = of('ma_word_make', width, generation, offset)
    p.always('a word keeps its offset', of('ma_word_offset', width, word, generation, start).bits == o, fits)
    age = of('ma_word_age', width, word, other).bits
    p.always('a word is 0 generations old in its own', of('ma_word_age', width, word, generation).bits == 0, fits)
    half = BitVecVal(1, 64) << (63 - n)
    p.always('an age below half the tag space is exact', age == h - g, fits, h - g < half, h - g >= -half)
    p.always('an older word is at its start', of('ma_word_offset', width, word, other, start).bits == start.bits, fits,
             UGT(h, g), ULT(h - g, 2 * half))
    wrapped = of('ma_word_wrap', width, offset).bits
    p.always('a sum is cut where an offset is', wrapped == o & ((BitVecVal(8, 64) << n) - 1), grains(o))


def prove_rounding(p):
    size = p.variable('size')
    paths = p.run('ma_round_grain', {'size': size})
    for path in paths:
        r, s = number(path.result).bits, size.bits
        p.always('a size is rounded up to the next grain',
                 And(grains(r), UGE(r, s), UGE(r, GRAIN), Or(s == 0, ULT(r - s, GRAIN))),
                 ULE(s, MAX), *path.conditions)
        p.possible('ma_round_grain', *path.conditions)


def pool(p):
    """The fields of a pool as ma_pool_init leaves them, and what is known of the address and the capacity."""
    capacity, base = p.variable('given_capacity'), p.variable('given_base', 'uintptr_t')
    sharded = Bool('sharded')
    (path,) = p.run('ma_pool_init', {'capacity': capacity, 'base': base, 'sharded': sharded, 'sources': 'sources',
                                     'pool->shard_count': p.variable('c', 'unsigned'),
                                     'pool->shard_bytes': p.variable('b'), 'pool->capacity': p.variable('x'),
                                     'pool->base': p.variable('y', 'uintptr_t'),
                                     'pool->offset_bits': p.variable('w', 'unsigned')})
    fields = {k: v for k, v in path.variables.items() if k.startswith('pool->')}
    wide = base.to(64, False).bits
    last = (1 << p.address_bits) - 1
    given = [ULE(capacity.bits, min(MAX + GRAIN - 1, last)), grains(wide), ULE(wide, last - capacity.bits)]
    count, shard, whole = (fields['pool->' + n].bits for n in ('shard_count', 'shard_bytes', 'capacity'))
    p.always('the shards and the frontier tile the pool',
             And(Or(And(count == 0, shard == 0), And(count == 64, UGE(shard, 4096))), grains(shard), grains(whole),
                 ULE(shard * 64, whole), ULE(shard, MAX), ULE(whole, capacity.bits), ULE(whole, MAX)), *given)
    # From here on any pool of which that is true.
    count, shard, whole = BitVec('shard_count', 32), BitVec('shard_bytes', 64), BitVec('capacity', 64)
    base = p.variable('base', 'uintptr_t')
    wide = base.to(64, False).bits
    p.assumptions += [Or(And(count == 0, shard == 0), And(count == 64, UGE(shard, 4096), ULE(shard, MAX))),
                      grains(shard), grains(whole), ULE(shard * 64, whole), ULE(whole, MAX), grains(wide),
                      ULE(wide, last - whole), ULE(whole, last)]
    fields = {'pool->shard_count': Number(count), 'pool->shard_bytes': Number(shard), 'pool->capacity': Number(whole),
              'pool->base': base, 'pool->offset_bits': p.variable('offset_bits', 'unsigned')}
    # Where stale pointers are trapped each generation has a base of its own; here it is one, anywhere.
    fields['pool->window_mask'] = fields['pool->window_bytes'] = Number(BitVecVal(0, p.address_bits), False)
    return fields, count, shard, whole


def prove_sources(p):
    fields, count, shard, whole = pool(p)
    offset, source = p.variable('offset'), p.variable('source', 'unsigned')

    def value(function, extra):
        paths = p.run(function, dict(fields, **extra))
        return [(number(x.result).to(64, False).bits, x.conditions) for x in paths]
    (begin, _), = value('ma_source_begin', {'source': source})
    (end, _), = value('ma_source_end', {'source': source})
    after = Number(source.bits + 1)
    (next_begin, _), = value('ma_source_begin', {'source': after})
    p.always('a source ends where the next begins', end == next_begin, ULT(source.bits, count))
    p.always('the frontier ends with the pool', And(end == whole, ULE(begin, end)), source.bits == count)
    for of, conditions in value('ma_source_of', {'offset': offset}):
        found = Number(Extract(31, 0, of))
        (low, _), = value('ma_source_begin', {'source': found})
        (high, _), = value('ma_source_end', {'source': found})
        p.cases = [[(count, BitVecVal(c, 32))] + [(Bool('quotient%dis_large' % n), BoolVal(k == 64)) for n in (1, 2)] +
                   [(BitVec('quotient%d' % n, 6), BitVecVal(k % 64, 6)) for n in (1, 2)]
                   for k in range(65) for c in (0, 64)]
        p.always('an offset lies in its source', And(ULE(low, offset.bits), ULT(offset.bits, high)),
                 ULT(offset.bits, whole), *conditions)
        p.cases = []
        p.always('there is such a source', ULE(of, ZeroExt(32, count)), ULT(offset.bits, whole), *conditions)


def request(p):
    fields = {'request->' + n: p.variable(n) for n in ('generation', 'size', 'alignment', 'want')}
    size, alignment, want = (fields['request->' + n].bits for n in ('size', 'alignment', 'want'))
    p.assumptions += [grains(size), size != 0, is_power(alignment), UGE(alignment, GRAIN), grains(want)]
    return fields, size, alignment


def room(p, what, path, begin, block, end, limit, base, size, alignment):
    for claim in (ULE(begin, block), ULE(block, limit), ULE(block, end), ULE(end, limit), ULE(size, end - block),
                  (base + block) & (alignment - 1) == 0, grains(end)):
        p.always(what, claim, *path)


def no_room(p, what, path, begin, block, limit, base, size, alignment):
    x = BitVec('anywhere', 64)
    p.always(what, Not(And(UGE(x, begin), (base + x) & (alignment - 1) == 0, ULE(x, limit), ULE(size, limit - x))),
             UGE(x - begin, block - begin),  # prove_next
             *path)


def is_aligned(base, offset, alignment, block):
    """What ma_pool_align gives: with the address it belongs to, even where the sum wraps, there is one such value."""
    return And((base + block) & (alignment - 1) == 0, ULT(block - offset, alignment), grains(block))


def prove_align(p):
    fields, _, _, whole = pool(p)
    offset, alignment = p.variable('offset'), p.variable('alignment')
    p.assumptions += [is_power(alignment.bits), UGE(alignment.bits, GRAIN), ULE(offset.bits, whole),
                      grains(offset.bits)]
    (path,) = p.run('ma_pool_align', dict(fields, generation=p.variable('generation'), offset=offset, alignment=alignment))
    p.always('an address is rounded up', is_aligned(fields['pool->base'].to(64, False).bits, offset.bits,
                                                    alignment.bits, path.result.bits))


def prove_next(p):
    """Of two aligned places behind an address, that within `alignment` of it is the first."""
    address, d, e, alignment = (BitVec(n, 64) for n in ('address', 'd', 'e', 'alignment'))
    p.assumptions += [is_power(alignment)]
    p.cases = [[(alignment, BitVecVal(1 << k, 64))] for k in range(64)]
    p.always('no aligned place is left out', UGE(e, d), (address + d) & (alignment - 1) == 0, ULT(d, alignment),
             (address + e) & (alignment - 1) == 0)


def aligned(p, base, tip, alignment):
    """The result of ma_pool_align, of which we know what prove_align has shown."""
    block = p.variable('block')
    p.assumptions += [is_aligned(base, tip.bits, alignment, block.bits)]
    return block


def prove_claim(p):
    fields, count, shard, whole = pool(p)
    asked, size, alignment = request(p)
    source, word = p.variable('source', 'unsigned'), p.variable('word')
    variables = dict(fields, **asked, source=source, span='span')
    variables['pool->generation'] = p.variable('now')
    variables['pool->sources[source]->word'] = word
    base, seen = fields['pool->base'].to(64, False).bits, set()
    tip, top = p.variable('tip'), p.variable('top')
    p.assumptions += [ULE(tip.bits, top.bits), ULE(top.bits, whole), grains(tip.bits), grains(top.bits)]
    results = {'ma_source_tip': tip, 'ma_source_end': top, 'ma_source_begin': top, 'note_claimed': p.variable('noted'),
               'ma_pool_align': aligned(p, base, tip, alignment)}
    for path in reversed(p.run('claim_from', variables, results)):
        v = path.variables
        limit = v['limit'].bits
        if 'begin' not in v:
            seen.add('MA_MOVED')
            continue
        begin = v['begin'].bits
        inside = path.conditions
        seen.add(path.result or 'again')
        if path.result == 'MA_NO_ROOM':
            no_room(p, 'claim_from: no room only where there is none', inside, begin, v['block'].bits, limit, base,
                    size, alignment)
        elif path.result == 'MA_CLAIMED':
            end = v['span->end'].bits
            p.possible('claim_from', *inside)
            room(p, 'claim_from: what is claimed lies in the source', inside, v['span->begin'].bits,
                 v['span->block'].bits, end, limit, base, size, alignment)
            n = fields['pool->offset_bits'].to(64, False).bits
            p.always('claim_from: the word says so',  # prove_words
                     And(v['claimed'].bits == asked['request->generation'].bits << n | LShR(end, 3), ULE(end, whole)),
                     *inside)
    if seen != {'MA_MOVED', 'MA_NO_ROOM', 'MA_CLAIMED', 'again'}:
        raise Failed('claim_from: outcomes %s' % sorted(seen))


def prove_find_run(p):
    fields, count, shard, whole = pool(p)
    asked, size, alignment = request(p)
    first, word = p.variable('first', 'unsigned'), p.variable('word')
    tip, top = p.variable('tip'), p.variable('top')
    p.assumptions += [ULE(tip.bits, top.bits), ULE(top.bits, whole), grains(tip.bits)]
    base = fields['pool->base'].to(64, False).bits
    found = 0
    for path in p.run('find_run', dict(fields, **asked, first=first, span='span', **{'words[first]': word}),
                      {'ma_source_tip': tip, 'ma_source_end': top, 'ma_source_begin': top,
                       'ma_pool_align': aligned(p, base, tip, alignment)}):
        v = path.variables
        if 'span->end' not in v:
            continue
        found += 1
        begin = v['begin'].bits
        inside = path.conditions
        p.possible('find_run', *inside)
        room(p, 'find_run: the run lies in the pool', inside, begin, v['span->block'].bits, v['span->end'].bits, whole,
             base, size, alignment)
        if not path.conditions:
            raise Failed('find_run: nothing is asked')
    if not found:
        raise Failed('find_run: never finds one')


def prove_lane_find(p):
    asked, size, alignment = request(p)
    limit, cursor = p.variable('limit', 'uintptr_t'), p.variable('cursor', 'uintptr_t')
    l, c = limit.to(64, False).bits, cursor.to(64, False).bits
    (path,) = p.run('ma_lane_find', dict(asked, **{'lane->limit': limit, 'lane->tlab->cursor_': cursor}))
    found, at = BitVec('found', 64), path.variables['start'].bits
    result = substitute(number(path.result).to(64, False).bits, (at, found))
    nothing = BitVecVal(0, 64)
    p.assumptions += [grains(c)]
    p.always('ma_lane_find: the address is rounded up', is_aligned(nothing, c, alignment, at))
    p.assumptions += [is_aligned(nothing, c, alignment, found)]
    room(p, 'ma_lane_find: the block lies in the TLAB', [result != 0], c, result, result + size, l, nothing, size,
         alignment)
    x = BitVec('anywhere', 64)
    p.always('ma_lane_find: 0 only where it does not fit',
             Not(And(result == 0, c != 0, ULE(c, x), ULE(x, l), ULE(size, l - x), x & (alignment - 1) == 0)),
             UGE(x - c, found - c))  # prove_next


def prove_bump(p):
    address = 'uintptr_t'
    size, alignment = p.variable('size', 'size_t'), p.variable('alignment', 'size_t')
    cursor, end = p.variable('cursor', address), p.variable('end', address)
    s, a, c, e = size.bits, alignment.bits, cursor.bits, end.bits
    p.assumptions += [is_power(a), ULE(a, 65536), grains(c), Or(c != 0, ULE(e, 1)),
                      ULE(c, (1 << p.address_bits) - 1 - (1 << 20))]
    bumps = 0
    for path in p.run('memarena_bump_', {'size': size, 'alignment': alignment, 'lane->cursor_': cursor,
                                         'lane->end_': end, 'arena': p.variable('arena', address),
                                         'memarena_lane_offset_': p.variable('lane_offset', address)}):
        if path.unreachable:
            p.always('memarena_bump_: no block lies at 0', False, *path.conditions)
        elif path.stores:
            bumps += 1
            block, after = number(path.result).bits, number(path.stores['lane->cursor_']).bits
            p.possible('memarena_bump_', *path.conditions)
            p.always('memarena_bump_: the block lies between cursor and end',
                     And(ULE(c, block), ULT(block, after), ULE(after, e), UGE(after - block, s),
                         ULT(after - block - s, GRAIN), grains(after), block & (a - 1) == 0, s != 0), *path.conditions)
    if bumps != 3:
        raise Failed('memarena_bump_: %d ways to a block, not 3' % bumps)


PROOFS = [('width', prove_width), ('words', prove_words), ('rounding', prove_rounding), ('sources', prove_sources),
          ('ma_pool_align', prove_align), ('next', prove_next), ('claim_from', prove_claim), ('find_run', prove_find_run),
          ('ma_lane_find', prove_lane_find), ('memarena_bump_', prove_bump)]

# (proof that must fail, what, file, text, text instead)
PLANTED = [
    ('width', 'one bit too few', 0, 'return 64 - (unsigned)', 'return 63 - (unsigned)'),
    ('width', 'one bit too many', 0, 'return 64 - (unsigned)', 'return 65 - (unsigned)'),
    ('width', 'no more than the least', 0, 'capacity >> MA_GRAIN_BITS | least', 'least'),
    ('words', 'the tag one bit too low', 0, 'generation << offset_bits |', 'generation << (offset_bits - 1) |'),
    ('words', 'the age without its sign', 0, '(int64_t)(distance', '(uint64_t)(distance'),
    ('words', 'the tag taken from one bit further up', 0, '(word >> offset_bits)', '(word >> (offset_bits + 1))'),
    ('words', 'an offset that runs into the tag', 0, '#define MA_GRAIN_BITS 3', '#define MA_GRAIN_BITS 2'),
    ('words', 'the offset of an older word', 0, 'generation) != 0) return', 'generation) < 0) return'),
    ('words', 'a sum that reaches the tag', 0, '<< offset_bits) - 1)', '<< (offset_bits + 1)) - 1)'),
    ('rounding', 'nothing for size 0', 3, 'size == 0 ? MA_GRAIN :', 'size == 0 ? 0 :'),
    ('rounding', 'rounded down', 3, '(size + MA_GRAIN - 1)', '(size)'),
    ('sources', 'a shard too far', 1, '(source + 1) * pool->shard_bytes', '(source + 2) * pool->shard_bytes'),
    ('sources', 'the frontier found too late', 1, '>= pool->shard_count) return', '> pool->shard_count) return'),
    ('sources', 'shards of a whole pool', 2, 'capacity / 2 / MA_SHARDS', 'capacity * 2 / MA_SHARDS'),
    ('claim_from', 'a start behind the limit not seen', 2, 'block < begin || block > limit ||', 'block < begin ||'),
    ('claim_from', 'a sum that wraps', 2, 'request->size > limit - block)', 'block + request->size > limit)'),
    ('claim_from', 'one grain too few', 2, 'request->size > limit - block)', 'request->size >= limit - block)'),
    ('claim_from', 'the wish not cut', 2, 'request->want < limit - end ?', 'request->want > limit - end ?'),
    ('ma_pool_align', 'aligned one too far', 1, '((address + alignment - 1)', '((address + alignment)'),
    ('ma_pool_align', 'the offset aligned, not the address', 1, 'address = base + offset', 'address = offset'),
    ('find_run', 'a run past the end', 2, 'request->size > pool->capacity - block)', 'false)'),
    ('find_run', 'a start behind the end not seen', 2, ' || block > pool->capacity ||', ' ||'),
    ('ma_lane_find', 'a start behind the limit not seen', 3, 'start > limit ||', ''),
    ('ma_lane_find', 'a mask one too low', 3, '~(request->alignment - 1);', '~(request->alignment - 2);'),
    ('memarena_bump_', 'the slack one too large', 4, 'slack = alignment - 1,', 'slack = alignment,'),
    ('memarena_bump_', 'the size not rounded', 4, '(size + grain) & ~grain', '(size) & ~grain'),
    ('memarena_bump_', 'size 0 let through', 4, 'size - 1 < MEMARENA_INLINE_MAX_', 'size < MEMARENA_INLINE_MAX_'),
    ('memarena_bump_', 'large sizes let through', 4, 'size - 1 < MEMARENA_INLINE_MAX_', 'size - 1 < SIZE_MAX'),
    ('memarena_bump_', 'the end not asked', 4, 'next <= __atomic_load_n(&lane->end_, __ATOMIC_RELAXED)', 'true'),
    ('memarena_bump_', 'only the start compared', 4, 'MEMARENA_LIKELY_(next <=', 'MEMARENA_LIKELY_(block <='),
]


def attempt(name, texts, widths=(64, 32)):
    for bits in widths:
        dict(PROOFS)[name](Proof(texts, bits))


def main():
    texts, failures = [], 0
    for name in FILES:
        with open(os.path.join(sys.argv[1], name)) as file:
            texts.append(file.read())
    texts.append('#define SIZE_MAX (~(size_t)0)\n')
    for name, _ in PROOFS:
        began = time.monotonic()
        try:
            attempt(name, texts)
            print('  proved: %-16s %5.1f s' % (name, time.monotonic() - began), flush=True)
        except (Failed, NoAnswer, SyntaxError) as error:
            failures += 1
            print('FAILED: %s: %s' % (name, error))
    for name, what, index, text, instead in PLANTED:
        broken, began = list(texts), time.monotonic()
        broken[index] = texts[index].replace(text, instead)
        if broken == texts:
            failures += 1
            print('FAILED: "%s" is no longer in %s' % (text, FILES[index]))
            continue
        try:
            attempt(name, broken, (64,))
            failures += 1
            print('FAILED: %s is proved although broken: %s' % (name, what))
        except (NoAnswer, SyntaxError) as error:
            failures += 1
            print('FAILED: %s: %s: %s' % (name, what, error))
        except Failed as error:
            print('  found:   %s: %s (%s)' % (name, what, str(error).split(' (')[0]))
    sys.exit(1 if failures else 0)


main()
