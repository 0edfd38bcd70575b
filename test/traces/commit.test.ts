/** Conversations between a sink's output and its stream, to be read; `conversation.ts` says in which words. */
import test from 'ava'
import { Conversation, reads, restore, start } from './conversation.js'

test('a clean commit: records wait for their checkpoint, then go out in one window', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  g1.prepare(1, 'a')
  g1.completed(1)
  g1.deliver()
  g1.prepare(2, 'b', 'c')
  g1.completed(2)
  g1.deliver()
  t.is(
    reads(conversation),
    `
g1     reads the last message
stream is empty
g1     recovered
g1     prepares 1: a
       checkpoint 1 completes (to g1)
g1     a 1/0 after 0
stream stores a at 1
g1     committed 1
g1     prepares 2: b c
       checkpoint 2 completes (to g1)
g1     b 2/0 after 1
g1     c 2/1 after 2
stream stores b at 2
stream stores c at 3
g1     committed 2
`,
  )
  t.is(conversation.content, 'a b c')
})

test('a crash in mid-transaction: the successor reads how far it came, and goes on there', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  g1.prepare(1, 'a')
  g1.completed(1)
  g1.deliver()
  const snapshot = g1.prepare(2, 'b', 'c', 'd')
  g1.prepare(3, 'never completed')
  g1.completed(2)
  g1.deliver(1)
  conversation.say('g1', 'dies')
  const g2 = restore(conversation, 2, snapshot)
  g2.prepare(4, 'e')
  g2.listen()
  g2.deliver()
  g2.completed(4)
  g2.deliver()
  t.is(
    reads(conversation),
    `
g1     reads the last message
stream is empty
g1     recovered
g1     prepares 1: a
       checkpoint 1 completes (to g1)
g1     a 1/0 after 0
stream stores a at 1
g1     committed 1
g1     prepares 2: b c d
g1     prepares 3: never completed
       checkpoint 2 completes (to g1)
g1     b 2/0 after 1
g1     c 2/1 after 2
g1     d 2/2 after 3
stream stores b at 2
g1     dies
       generation 2 restores checkpoint 2
g2     prepares 4: e
g2     reads the last message
stream ends at 2 with 2/0 by g1
g2     c 2/1 after 2
g2     d 2/2 after 3
stream stores c at 3
stream stores d at 4
g2     recovered
g2     committed 2
       checkpoint 4 completes (to g2)
g2     e 4/0 after 4
stream stores e at 5
g2     committed 4
`,
  )
  t.is(conversation.content, 'a b c d e')
})

test('a zombie wakes: its window is refused, it reads who came after it, and stops for ever', t => {
  const conversation = new Conversation()
  const g1 = start(conversation)
  const snapshot = g1.prepare(1, 'a', 'b', 'c')
  g1.completed(1)
  g1.deliver()
  conversation.say('g1', 'sleeps, b and c are on the wire')
  const g2 = restore(conversation, 1, snapshot)
  g2.listen()
  g2.deliver(1)
  conversation.say('g1', 'wakes')
  g1.deliver(1)
  g2.deliver()
  g2.deliver()
  g1.deliver()
  t.is(
    reads(conversation),
    `
g1     reads the last message
stream is empty
g1     recovered
g1     prepares 1: a b c
       checkpoint 1 completes (to g1)
g1     a 1/0 after 0
stream stores a at 1
g1     b 1/1 after 1
g1     c 1/2 after 2
g1     sleeps, b and c are on the wire
       generation 2 restores checkpoint 1
g2     reads the last message
stream ends at 1 with 1/0 by g1
g2     b 1/1 after 1
g2     c 1/2 after 2
stream stores b at 2
g1     wakes
stream refuses, its last sequence is 2 (to g1)
stream stores c at 3
g2     recovered
g2     committed 1
stream refuses, its last sequence is 3 (to g1)
g1     reads the last message
stream ends at 3 with 1/2 by g2
g1     fenced by g2
`,
  )
  t.is(conversation.content, 'a b c')
})
