/** The stream in memory against one that only searches, on the same random operations. */
import test from 'ava'
import type { LogMessage } from '../../lib/ports/event-log.js'
import { MemoryStream } from '../support/memory-stream.js'
import { overlap, Pattern } from '../support/memory-subjects.js'
import { VirtualTime } from '../support/memory-time.js'
import { prng, seedFromEnvironment } from '../support/prng.js'
import { bytes } from './event-log.js'

const filters = ['s.>', 's.*', 's.a', 's.b.>', 's.*.c', 's.b.c', '>', 't.>', 's.none'] as const
const subjects = ['s.a', 's.b', 's.b.c', 's.d.c', 's.e.f.g'] as const

/** The rules of NATS, token by token. */
const matches = (filter: string, subject: string): boolean => {
  const [head, ...tail] = filter.split('.')
  const [token, ...tokens] = subject === '' ? [] : subject.split('.')
  if (head === '>') return token !== undefined
  if (head === undefined || head === '' || token === undefined) return head === token
  if (head !== '*' && head !== token) return false
  if (tail.length === 0 || tokens.length === 0) return tail.length === tokens.length
  return matches(tail.join('.'), tokens.join('.'))
}

/** Says by searching what the stream says by its indexes. */
class SearchedStream {
  messages: LogMessage[] = []
  last = 0
  first = 0

  store(subject: string, max: number): void {
    this.last += 1
    if (this.messages.length === 0) this.first = this.last
    const payload = bytes(`${this.last}`)
    this.messages.push({ sequence: this.last, subject, payload, headers: undefined })
    const same = this.messages.filter(message => message.subject === subject)
    for (const { sequence } of same.slice(0, -max)) this.keep(other => other !== sequence)
  }

  keep(kept: (sequence: number) => boolean): void {
    const before = this.messages.length
    this.messages = this.messages.filter(({ sequence }) => kept(sequence))
    if (this.messages.length < before) this.first = this.messages[0]?.sequence ?? this.last + 1
  }

  loseTail(above: number): void {
    this.keep(sequence => sequence <= above)
    this.last = Math.min(this.last, above)
    if (this.messages.length === 0) this.first = this.last + 1
  }
}

test('a stream in memory finds what searching finds, whatever was done to it', t => {
  const seed = seedFromEnvironment()
  t.log(`SLUICE_TEST_SEED=${seed}`)
  const random = prng(seed)
  for (let world = 0; world < 20; world += 1) {
    const max = random.chance(0.3) ? 1 + random.below(3) : Number.POSITIVE_INFINITY
    const config = {
      name: 'S',
      subjects: ['s.>'],
      storage: 'file',
      messagesPerSubjectMax: max,
    } as const
    const stream = new MemoryStream(config, 'now', new VirtualTime())
    const model = new SearchedStream()
    for (let step = 0; step < 300; step += 1) {
      const subject = subjects[random.below(subjects.length)] ?? 's.a'
      const sequence = random.below(model.last + 3)
      if (random.chance(0.7)) {
        stream.store(subject, bytes(`${model.last + 1}`), {})
        model.store(subject, max)
      } else if (random.chance(0.5)) {
        stream.delete(sequence)
        model.keep(other => other !== sequence)
      } else if (random.chance(0.8)) {
        const below = Math.max(1, sequence - random.below(40))
        stream.purge(below)
        model.keep(other => other >= below)
        if (model.messages.length === 0 && below > model.first) model.first = model.last + 1
      } else {
        stream.loseTail(sequence)
        model.loseTail(sequence)
      }
      const { firstSequence, lastSequence, messages } = stream.facts
      t.deepEqual(
        [firstSequence, lastSequence, messages],
        [model.first, model.last, model.messages.length],
      )
      t.deepEqual(
        stream.at(sequence),
        model.messages.find(other => other.sequence === sequence),
      )
      for (const filter of filters) {
        const found = model.messages.filter(message => matches(filter, message.subject))
        t.deepEqual(stream.last(filter), found.at(-1))
        t.deepEqual(
          stream.next(sequence, filter),
          found.find(other => other.sequence >= sequence),
        )
      }
      t.deepEqual(
        stream.next(sequence, undefined),
        model.messages.find(other => other.sequence >= sequence),
      )
    }
  }
})

test('a long stream that is purged as it grows forgets what is behind it', t => {
  const config = { name: 'S', subjects: ['s.>'], storage: 'memory' } as const
  const stream = new MemoryStream(config, 'now', new VirtualTime())
  for (let n = 1; n <= 50_000; n += 1) {
    stream.store(n % 3 === 0 ? 's.a' : 's.b', bytes('x'), {})
    if (n % 100 === 0) stream.purge(n - 50)
  }
  t.is(stream.facts.messages, 51)
  t.is(stream.next(0, 's.a')?.sequence, 49_950)
  t.is(stream.next(49_951, 's.*')?.sequence, 49_951)
  t.is(stream.last('s.a')?.sequence, 49_998)
})

test('subjects overlap by the rules of NATS, also when the verdict is remembered', t => {
  for (const filter of filters) {
    const pattern = new Pattern(filter)
    for (const subject of [...subjects, ...subjects, 't', 't.a', 's']) {
      t.is(overlap(filter, subject), matches(filter, subject), `${filter} ${subject}`)
      t.is(pattern.overlaps(subject), matches(filter, subject), `${filter} ${subject}`)
    }
  }
  for (const [left, right] of [
    ['s.*', '*.a'],
    ['s.>', '*.a'],
    ['>', 's.*'],
  ] as const) {
    t.true(overlap(left, right) && overlap(right, left))
  }
  t.false(overlap('s.*', '*.a.b') || overlap('a.>', 'a') || overlap('a.*', 'b.>'))
})
