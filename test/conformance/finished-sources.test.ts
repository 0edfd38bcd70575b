/** Finished sources: checkpoints go on after some have ended, and the job ends by a final one. */
import test from 'ava'
import type { AnySource } from '../../lib/job/graph.js'
import { eventually, exitOf, notesOf, pidOf, startCli, untilNoted } from '../support/cli.js'
import {
  assertCounted,
  jobFile,
  messagesOf,
  numbers,
  openNats,
  publish,
  streamOf,
  uniqueName,
} from '../support/jobs.js'
import { type Connection, JobWorld } from '../support/memory-job.js'
import {
  anySource,
  completedEpochs,
  feed,
  generations,
  iterableSource,
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'
import { sharedServers } from '../support/servers.js'

const records = { left: 20, right: 250 }

/** A job whose left source ends soon; counts how often each is read from, and notes what is committed. */
const leftEndsSoon = (left: AnySource = anySource(streamSource('left', records.left))) => {
  const handled = { left: 0, right: 0 }
  const job = mergingJob({
    left,
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 50 },
    onRecord: ({ from }) => {
      if (from === 'left') handled.left += 1
      else handled.right += 1
    },
  })
  const world = new JobWorld({ job })
  const connect = world.connect.bind(world)
  const commits: { readonly epoch: number; readonly final: boolean; readonly parts: number }[] = []
  const readers: string[] = []
  world.connect = (name): Connection => {
    const ports = connect(name)
    const { store, log } = ports
    return {
      ...ports,
      log: {
        ...log,
        read: options => {
          readers.push(`${name} ${options.stream}`)
          return log.read(options)
        },
      },
      store: {
        ...store,
        commit: (claim, manifest, options) => {
          const { epoch, final, parts } = manifest
          commits.push({ epoch, final, parts: parts.length })
          return store.commit(claim, manifest, options)
        },
      },
    }
  }
  if (left.type === 'jetstream-source') feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  const leftEnded = async (): Promise<void> => {
    await world.time.run('the end of left', () => handled.left === records.left)
    const before = completedEpochs(world).length
    await world.time.run('more checkpoints', () => completedEpochs(world).length >= before + 3)
  }
  return { world, handled, commits, readers, leftEnded }
}

test('checkpoints go on after one source has ended, with the parts of all subtasks', async t => {
  const { world, commits, leftEnded } = leftEndsSoon()
  world.start()
  await leftEnded()
  t.is(world.outcome, undefined, 'the other source goes on')
  t.is((await world.untilEnded()).status, 'finished')
  t.true(commits.length >= 5)
  t.true(commits.every(({ parts }) => parts === 3))
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('a bounded job takes one final checkpoint at its end, publishes it, and is finished', async t => {
  const { world, commits } = leftEndsSoon()
  world.start()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(
    commits.filter(({ final }) => final),
    commits.slice(-1),
  )
  t.is(completedEpochs(world).at(-1), commits.at(-1)?.epoch)
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

for (const role of ['left/0', 'counts/0', 'right/0', 'coordinator']) {
  test(`after one source has ended, a crash of ${role} does not have it read again`, async t => {
    const { world, handled, readers, leftEnded } = leftEndsSoon()
    world.start()
    await leftEnded()
    world.kill(role)
    t.is((await world.untilEnded()).status, 'finished')
    t.deepEqual(generations(world), [1, 2])
    t.is(handled.left, records.left)
    t.deepEqual(
      readers.filter(reader => reader.endsWith(' LEFT')),
      ['left/0-1 LEFT'],
    )
    t.deepEqual(verdictOf(world, records), nothingWrong)
  })

  test(`an iterable that has ended is not opened again after a crash of ${role}`, async t => {
    const offsets: number[] = []
    const source = iterableSource('left', records.left, offset => offsets.push(offset))
    const { world, handled, leftEnded } = leftEndsSoon(source)
    world.start()
    await leftEnded()
    world.kill(role)
    t.is((await world.untilEnded()).status, 'finished')
    t.deepEqual(generations(world), [1, 2])
    t.deepEqual(offsets, [0])
    t.is(handled.left, records.left)
    t.deepEqual(verdictOf(world, records), nothingWrong)
  })
}

test('a crash between the final checkpoint and the end neither repeats nor loses its output', async t => {
  for (const role of ['coordinator', 'counts/0', 'left/0']) {
    const { world, commits } = leftEndsSoon()
    world.hooks.onServed = (_process, request) => {
      if (request.startsWith('commit') && commits.filter(({ final }) => final).length === 1)
        world.kill(role)
    }
    world.start()
    t.is((await world.untilEnded()).status, 'finished')
    t.deepEqual(verdictOf(world, records), nothingWrong, role)
  }
})

test('on real servers: one of two sources ends, checkpoints go on, a kill repeats nothing, and the job finishes', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const [short, long] = [numbers(60), numbers(400)]
  const settings = {
    JOB: uniqueName('pair'),
    IN_SHORT: uniqueName('SHORT'),
    IN_LONG: uniqueName('LONG'),
    OUT_SHORT: uniqueName('OUT_S'),
    OUT_LONG: uniqueName('OUT_L'),
    END_SHORT: short.length,
    END_LONG: long.length,
    INTERVAL_MS: 100,
  }
  await streamOf(nats, settings.IN_SHORT, short)
  await streamOf(nats, settings.IN_LONG, long.slice(0, 200))
  const up = startCli(t, ['up', jobFile('pair'), '--json'], { servers, settings })
  await eventually('the short source is done', async () => {
    return (await messagesOf(nats, settings.OUT_SHORT)).length === short.length
  })
  await untilNoted(up, 'checkpoint-completed', notesOf(up, 'checkpoint-completed').length + 3)
  process.kill(await pidOf(up, 'counts-short/0'), 'SIGKILL')
  await untilNoted(up, 'running', 2)
  const last = long.slice(200).map(record => JSON.stringify(record))
  await publish(nats, settings.IN_LONG, last)
  const { code, stdout } = await exitOf(up)
  t.is(code, 0)
  t.regex(stdout, /"status":"finished"/)
  await assertCounted(t, nats, settings.OUT_SHORT, short)
  await assertCounted(t, nats, settings.OUT_LONG, long)
})
