import test from 'ava'
import { isPattern, isStreamName } from '../../lib/adapters/nats/subjects.js'
import {
  channelId,
  channelSubject,
  coordinatorSubject,
  creditRequestSubject,
  creditSubject,
  deadLetterStream,
  deadLetterSubject,
  deadLetterSubjects,
  generationOfStream,
  generationStreamPrefix,
  identityStream,
  identitySubject,
  jobStreamPrefix,
  mailboxStream,
  mailboxSubjects,
  ordersSubject,
  parseSubtaskId,
  subtaskId,
} from '../../lib/protocol/addresses.js'
import { hostileNames } from '../contract/snapshots.js'
import { overlap } from '../support/memory-broker.js'

const names = [...hostileNames, 'a/b', 'a_', 'G1_a', 'a.b', '>', 'a=20b', 'ä', 'a b'] as const

test('a subtask’s id keeps chain and index apart, whatever the chain is called', t => {
  for (const chain of [...names, 'a/1', '/', '']) {
    for (const index of [0, 1, 127]) {
      t.deepEqual(parseSubtaskId(subtaskId(chain, index)), { chain, index })
    }
  }
})

test('every stream name and subject is one that a server takes', t => {
  for (const name of names) {
    const a = subtaskId(name, 0)
    for (const stream of [
      mailboxStream(name, 3, a),
      deadLetterStream(name),
      identityStream(name),
      generationStreamPrefix(name, 3),
    ]) {
      t.true(isStreamName(stream), stream)
    }
    for (const subject of [
      channelSubject(name, 3, 0, a, a),
      creditSubject(name, 3, a),
      creditRequestSubject(name, 3, a),
      coordinatorSubject(name),
      ordersSubject(name, name),
      deadLetterSubject(name, a),
      identitySubject(name),
    ]) {
      t.true(isPattern(subject) && !/[*>]/.test(subject), subject)
    }
    t.true(isPattern(mailboxSubjects(name, 3, a)))
    t.true(isPattern(deadLetterSubjects(name)))
  }
})

test('no two jobs share a stream, and no prefix of one reaches into another', t => {
  const unique = [...new Set(names)]
  for (const job of unique) {
    for (const other of unique) {
      if (job === other) continue
      for (const stream of [
        mailboxStream(other, 1, 'a/0'),
        deadLetterStream(other),
        identityStream(other),
      ]) {
        t.false(stream.startsWith(jobStreamPrefix(job)), `${job} reaches ${stream}`)
      }
    }
  }
})

test('a mailbox takes its own channels of its own generation and nothing else', t => {
  const mine = mailboxSubjects('job', 3, 'a/1')
  t.true(overlap(mine, channelSubject('job', 3, 0, 'x/0', 'a/1')))
  for (const subject of [
    channelSubject('job', 2, 0, 'x/0', 'a/1'),
    channelSubject('job', 30, 0, 'x/0', 'a/1'),
    channelSubject('job', 3, 0, 'a/1', 'x/0'),
    channelSubject('job', 3, 0, 'x/0', 'a/11'),
    channelSubject('other', 3, 0, 'x/0', 'a/1'),
    creditSubject('job', 3, 'a/1'),
    creditRequestSubject('job', 3, 'a/1'),
    coordinatorSubject('job'),
    deadLetterSubject('job', 'a/1'),
  ]) {
    t.false(overlap(mine, subject), subject)
  }
})

test('channels differ by edge, writer, reader and generation', t => {
  const subjects = new Set<string>()
  const ids = new Set<string>()
  let count = 0
  for (const edge of [0, 1, 10]) {
    for (const from of ['a/0', 'a/1', 'a/0/0', 'b/0']) {
      for (const to of ['c/0', 'c/1', 'c/0/0']) {
        ids.add(channelId(edge, from, to))
        for (const generation of [1, 11]) {
          subjects.add(channelSubject('job', generation, edge, from, to))
          count += 1
        }
      }
    }
  }
  t.is(subjects.size, count)
  t.is(ids.size, count / 2)
})

test('a stream’s generation is read back, and only mailboxes have one', t => {
  for (const job of names) {
    t.is(generationOfStream(job, mailboxStream(job, 42, 'a/0')), 42)
    t.true(mailboxStream(job, 42, 'a/0').startsWith(generationStreamPrefix(job, 42)))
    t.is(generationOfStream(job, deadLetterStream(job)), undefined)
    t.is(generationOfStream(job, identityStream(job)), undefined)
  }
})

test('dead letters of all subtasks of a job, and of no other, go to one stream', t => {
  t.true(overlap(deadLetterSubjects('job'), deadLetterSubject('job', 'a/7')))
  t.false(overlap(deadLetterSubjects('job'), deadLetterSubject('job2', 'a/7')))
})
