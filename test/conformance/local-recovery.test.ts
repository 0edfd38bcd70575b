/** Local recovery: a worker that lives on restores from its own copy first, and from the store otherwise. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { partKey } from '../../lib/adapters/redis/keys.js'
import type { RestoredFrom } from '../../lib/protocol/coordinator.js'
import { token } from '../../lib/protocol/names.js'
import { newFolder } from '../adapters/fs/folder.js'
import {
  type Cli,
  eventually,
  exitOf,
  gone,
  pidOf,
  refusalOf,
  runCli,
  startCli,
  untilNoted,
} from '../support/cli.js'
import {
  assertCounted,
  jobFile,
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
  mergingJob,
  nothingWrong,
  streamSource,
  verdictOf,
} from '../support/merging-job.js'
import { partsRead } from '../support/parts-read.js'
import { sharedServers } from '../support/servers.js'

const records = { left: 120, right: 120 }

/** A world; `throwNow` lets the counting actor throw once, upon which every process lives on. */
const recovering = (localRecovery: boolean, incremental = false) => {
  let throws = false
  const job = mergingJob({
    left: anySource(streamSource('left', records.left)),
    right: anySource(streamSource('right', records.right)),
    checkpoint: { intervalMs: 50, localRecovery, incremental },
    onRecord: () => {
      if (!throws) return
      throws = false
      throw new Error('once')
    },
  })
  const world = new JobWorld({ job })
  const reads: string[] = []
  world.hooks.onRequest = (_process, request) => {
    const [verb, subtask = ''] = request.split(' ')
    if (verb === 'read' && /^(left|right|counts)\/0$/.test(subtask)) reads.push(subtask)
    return undefined
  }
  /** The very chunks that a subtask gave to the store, by epoch. */
  const written = new Map<string, readonly Uint8Array[]>()
  const connect = world.connect.bind(world)
  world.connect = (name): Connection => {
    const ports = connect(name)
    const { snapshots } = ports
    return {
      ...ports,
      snapshots: {
        ...snapshots,
        write: (of, part, chunks, ttlMs) => {
          written.set(`${part.subtask} ${part.epoch}`, chunks)
          return snapshots.write(of, part, chunks, ttlMs)
        },
      },
    }
  }
  feed(world, 'left', records.left, 4)
  feed(world, 'right', records.right, 4)
  const checkpointed = () =>
    world.time.run('checkpoint 3', () => completedEpochs(world).includes(3))
  const throwNow = (): void => {
    throws = true
  }
  return { world, reads, written, checkpointed, throwNow }
}

/** What the second generation said of where it was restored from. */
const restoredOf = ({ notes }: JobWorld): RestoredFrom | undefined =>
  notes.flatMap(note => (note.type === 'running' && note.generation === 2 ? [note] : []))[0]
    ?.restored

test('workers that live on restore without the store: one that fails every read is no harm', async t => {
  const { world, reads, checkpointed, throwNow } = recovering(true)
  world.start()
  await checkpointed()
  const { onRequest } = world.hooks
  world.hooks.onRequest = (process, request) => {
    onRequest?.(process, request)
    return /^read (left|right|counts)\/0 /.test(request) ? 'lost' : undefined
  }
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(reads, [])
  t.deepEqual(restoredOf(world), { memory: 3, disk: 0, store: 0 })
  t.true(world.told.includes('generation 2 runs; restored: 3 from memory'))
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('without local recovery every part is read from the store', async t => {
  const { world, reads, checkpointed, throwNow } = recovering(false)
  world.start()
  await checkpointed()
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual([...reads].sort(), ['counts/0', 'left/0', 'right/0'])
  t.is(restoredOf(world), undefined)
  t.true(world.told.includes('generation 2 runs'))
})

test('a worker that was killed reads its part from the store, the others their copies', async t => {
  const { world, reads, checkpointed } = recovering(true)
  world.start()
  await checkpointed()
  world.kill('left/0')
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, ['left/0'])
  t.deepEqual(restoredOf(world), { memory: 2, disk: 0, store: 1 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('a copy that was damaged is not used: its part comes from the store', async t => {
  const { world, reads, written, checkpointed, throwNow } = recovering(true)
  world.start()
  await checkpointed()
  throwNow()
  await world.time.run('the failure', () => world.notes.some(note => note.type === 'failed'))
  let damaged = 0
  for (const [name, chunks] of written) {
    const last = chunks[0]?.at(-1)
    if (!name.startsWith('counts/0') || last === undefined) continue
    chunks[0]?.set([last ^ 1], chunks[0].length - 1)
    damaged += 1
  }
  t.true(damaged > 0)
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(reads, ['counts/0'])
  t.deepEqual(restoredOf(world), { memory: 2, disk: 0, store: 1 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('snapshots of changes are restored from copies, with all that they build on', async t => {
  const { world, reads, written, checkpointed, throwNow } = recovering(true, true)
  let based = 0
  const connect = world.connect.bind(world)
  world.connect = (name): Connection => {
    const ports = connect(name)
    const { snapshots } = ports
    return {
      ...ports,
      snapshots: {
        ...snapshots,
        write: (of, part, chunks, ttlMs) => {
          if (part.bases !== undefined) based += 1
          return snapshots.write(of, part, chunks, ttlMs)
        },
      },
    }
  }
  world.start()
  await checkpointed()
  t.true(based > 0 && written.size > based)
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2])
  t.deepEqual(reads, [])
  t.deepEqual(restoredOf(world), { memory: 3, disk: 0, store: 0 })
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test('copies serve one restore after the other', async t => {
  const { world, reads, checkpointed, throwNow } = recovering(true)
  world.start()
  await checkpointed()
  throwNow()
  await world.time.run('the second generation', () => generations(world).includes(2))
  throwNow()
  t.is((await world.untilEnded()).status, 'finished')
  t.deepEqual(generations(world), [1, 2, 3])
  t.deepEqual(reads, [])
  t.deepEqual(verdictOf(world, records), nothingWrong)
})

test.serial(
  'on real servers: after a kill the processes that live on restore from their copies',
  async t => {
    const servers = await sharedServers()
    const nats = await openNats(t, servers.natsUrl)
    const all = numbers(400)
    const settings = {
      JOB: uniqueName('local'),
      IN: uniqueName('IN'),
      OUT: uniqueName('OUT'),
      SUBJECT: uniqueName('out'),
      END: all.length,
      INTERVAL_MS: 100,
      LOCAL_RECOVERY: 'yes',
    }
    await streamOf(nats, settings.IN, all.slice(0, 200))
    const up = startCli(t, ['up', jobFile('counts'), '--json'], { servers, settings })
    await untilNoted(up, 'checkpoint-completed', 3)
    process.kill(await pidOf(up, 'counts/1'), 'SIGKILL')
    const { text } = await untilNoted(up, 'running', 2)
    t.is(text, 'generation 2 runs; restored: 3 from memory, 1 from the store')
    const last = all.slice(200).map(record => JSON.stringify(record))
    await publish(nats, settings.IN, last)
    t.is((await exitOf(up)).code, 0)
    await assertCounted(t, nats, settings.OUT, all)
  },
)

// --- on the disks of the machine ----------------------------------------------------------------

/** Copies below folders, by their path, of one subtask. */
const copiesOf = async (
  folders: readonly string[],
  subtask: string,
): Promise<readonly string[]> => {
  const found: string[] = []
  for (const folder of folders) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    for (const { parentPath, name } of entries)
      if (name.endsWith('.part') && name.includes(`-${subtask.replace('/', '=2f')}-`))
        found.push(join(parentPath, name))
  }
  return found
}

const subtasks = ['numbers/0', 'counts/0', 'counts/1', 'out/0'] as const

/** A job that takes checkpoints when it is asked to, with its copies on two disks. */
const onDisks = async (t: ExecutionContext, incremental: 'yes' | 'no' = 'no') => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const folders = [await newFolder(t), await newFolder(t)]
  const all = numbers(400)
  const settings = {
    JOB: uniqueName('disks'),
    IN: uniqueName('IN'),
    OUT: uniqueName('OUT'),
    SUBJECT: uniqueName('out'),
    END: all.length,
    INTERVAL_MS: 3_600_000,
    LOCAL_RECOVERY: 'yes',
    INCREMENTAL: incremental,
  }
  const env = { SLUICE_LOCAL_RECOVERY_FOLDERS: folders.join(',') }
  await streamOf(nats, settings.IN, all.slice(0, 200))
  const up = (...more: readonly string[]): Cli =>
    startCli(t, ['up', jobFile('counts'), '--json', ...more], { servers, settings, env })
  /** Takes a checkpoint, and gives its number once every subtask has its copy. */
  const checkpoint = async (): Promise<number> => {
    const { stdout } = await runCli(t, ['checkpoint', settings.JOB, '--json'], { servers })
    const { epoch }: { readonly epoch: number } = JSON.parse(stdout)
    for (const subtask of subtasks)
      await eventually(`a copy of ${subtask} at checkpoint ${epoch}`, async () =>
        (await copiesOf(folders, subtask)).some(path => path.includes(`/${epoch}-`)),
      )
    return epoch
  }
  const finish = async (cli: Cli): Promise<void> => {
    const last = all.slice(200).map(record => JSON.stringify(record))
    await publish(nats, settings.IN, last)
    t.is((await exitOf(cli)).code, 0)
    await assertCounted(t, nats, settings.OUT, all)
    await gone(cli)
    for (const subtask of subtasks) t.deepEqual(await copiesOf(folders, subtask), [])
  }
  const read = await partsRead(t, servers.redisUrl)
  const ours = `{${token(settings.JOB)}}`
  const readOf = async () => (await read()).filter(key => key.includes(ours))
  return { servers, folders, settings, env, up, checkpoint, finish, readOf }
}

for (const incremental of ['no', 'yes'] as const) {
  test.serial(
    `on real disks: a process that was killed reads its part from there, incremental: ${incremental}`,
    async t => {
      const { folders, up, checkpoint, finish, readOf } = await onDisks(t, incremental)
      const cli = up()
      await untilNoted(cli, 'running')
      for (let taken = 0; taken < 3; taken += 1) await checkpoint()
      for (const folder of folders)
        t.true((await readdir(join(folder, 'sluice_copies'))).length > 0)
      process.kill(await pidOf(cli, 'counts/1'), 'SIGKILL')
      const { text } = await untilNoted(cli, 'running', 2)
      t.is(text, 'generation 2 runs; restored: 3 from memory, 1 from disk')
      await finish(cli)
      t.deepEqual(await readOf(), [])
    },
  )
}

test.serial(
  'on real disks: a copy that was damaged comes from Redis, with the same results',
  async t => {
    const { folders, settings, up, checkpoint, finish, readOf } = await onDisks(t)
    const cli = up()
    await untilNoted(cli, 'running')
    const epoch = await checkpoint()
    const [path = '', ...others] = await copiesOf(folders, 'counts/1')
    t.deepEqual(others, [])
    const bytes = await readFile(path)
    await writeFile(
      path,
      bytes.map((byte, at) => (at === bytes.length - 5 ? byte ^ 4 : byte)),
    )
    process.kill(await pidOf(cli, 'counts/1'), 'SIGKILL')
    const { text } = await untilNoted(cli, 'running', 2)
    t.is(text, 'generation 2 runs; restored: 3 from memory, 1 from the store')
    const told = cli.events().filter(({ type }) => type === 'trouble')
    t.true(
      told.some(({ role, text: why }) => role === 'counts/1' && /match the digest/.test(`${why}`)),
    )
    t.deepEqual(await copiesOf(folders, 'counts/1'), [])
    await finish(cli)
    t.deepEqual(await readOf(), [
      partKey(settings.JOB, { generation: 1, epoch, subtask: 'counts/1' }),
    ])
  },
)

test.serial(
  'on real disks: a machine whose processes all died restores without Redis, and afresh nothing',
  async t => {
    const { folders, up, checkpoint, readOf } = await onDisks(t)
    const first = up()
    await untilNoted(first, 'running')
    await checkpoint()
    first.signal('SIGKILL')
    await gone(first)
    const second = up()
    const { text } = await untilNoted(second, 'running')
    t.is(text, 'generation 2 runs; restored: 4 from disk')
    const epoch = await checkpoint()
    t.deepEqual(await readOf(), [])
    second.signal('SIGKILL')
    await gone(second)
    const third = up('--fresh')
    const { text: fresh } = await untilNoted(third, 'running')
    t.is(fresh, 'generation 3 runs')
    await checkpoint()
    const left = (await copiesOf(folders, 'counts/1')).filter(path => path.includes(`/${epoch}-`))
    t.is(left.length, 1, 'what an earlier life has left stays for an hour')
  },
)

test.serial(
  'on real disks: folders that are gone fail no checkpoint, and the history says so once',
  async t => {
    const { servers, folders, settings, up, readOf } = await onDisks(t)
    const cli = up()
    await untilNoted(cli, 'running')
    for (const folder of folders) await rm(folder, { recursive: true })
    const take = async (): Promise<string> => {
      const { code, stdout } = await runCli(t, ['checkpoint', settings.JOB, '--json'], { servers })
      t.is(code, 0)
      const { epoch }: { readonly epoch: number } = JSON.parse(stdout)
      const details = await runCli(t, ['checkpoints', settings.JOB, String(epoch)], { servers })
      t.regex(details.stdout, /: completed/)
      return details.stdout
    }
    const said: string[] = []
    const trouble = /^(?:numbers\/0|counts\/[01]|out\/0): could not keep a copy of .*ENOENT/gm
    await eventually('every subtask has said so', async () => {
      said.push(...((await take()).match(trouble) ?? []))
      return said.length >= subtasks.length
    })
    t.is((await take()).match(trouble), null)
    t.is(said.length, subtasks.length)
    process.kill(await pidOf(cli, 'counts/1'), 'SIGKILL')
    const { text } = await untilNoted(cli, 'running', 2)
    t.is(text, 'generation 2 runs; restored: 3 from memory, 1 from the store')
    t.is((await readOf()).length, 1)
    for (const folder of folders) await t.throwsAsync(readdir(folder), { code: 'ENOENT' })
  },
)

test.serial(
  'on real disks: a folder that cannot be used is refused before anything starts',
  async t => {
    const { folders, servers, settings } = await onDisks(t)
    const [folder = ''] = folders
    const file = join(folder, 'file')
    await writeFile(file, '')
    const env = { SLUICE_LOCAL_RECOVERY_FOLDERS: `${folder},${folder}/none,${file}` }
    const args = ['up', jobFile('counts')]
    const { type, message, next } = await refusalOf(t, args, { servers, settings, env })
    t.is(type, 'invalid')
    const expected = 'a folder of this machine that its workers may write to'
    t.deepEqual(message.split('\n').slice(1), [
      `  localRecoveryFolders.1: expected ${expected}, found "${folder}/none", which is not there. Make it, mount its disk, let this user write there, or name another folder.`,
      `  localRecoveryFolders.2: expected ${expected}, found "${file}", which is no folder. Make it, mount its disk, let this user write there, or name another folder.`,
    ])
    t.regex(next ?? '', /sluice config/)
    const worker = ['worker', jobFile('counts')]
    t.is((await refusalOf(t, worker, { servers, settings, env })).message, message)
    // Without local recovery nobody looks at them.
    const off = { ...settings, LOCAL_RECOVERY: 'no' }
    const cli = startCli(t, [...args, '--json'], { servers, settings: off, env })
    await untilNoted(cli, 'running')
  },
)
