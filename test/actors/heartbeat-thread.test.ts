/** The heartbeat's thread while NATS is away. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { connectNats } from '../../lib/adapters/nats/connection.js'
import { natsControlBus } from '../../lib/adapters/nats/control-bus.js'
import { freePort, localNats } from '../adapters/nats/local-server.js'
import { done } from '../support/servers.js'

const startThread = (natsUrl: string): Worker =>
  new Worker(new URL('../../actors/heartbeat-thread.js', import.meta.url), {
    workerData: {
      natsUrl,
      job: 'beats',
      worker: 'w',
      everyMs: 50,
      mark: new SharedArrayBuffer(8),
    },
  })

/** Hangs up on whoever connects; `tried` resolves when somebody has. */
const nobody = async (t: ExecutionContext, port: number) => {
  const server = createServer(socket => socket.destroy())
  t.teardown(() => server.close())
  const tried = once(server, 'connection')
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { tried, gone: () => new Promise(resolve => server.close(resolve)) }
}

test('a heartbeat that starts while NATS is away begins when it is back', async t => {
  const port = await freePort()
  const { tried, gone } = await nobody(t, port)
  const thread = startThread(`nats://127.0.0.1:${port}`)
  t.teardown(() => thread.terminate())
  const failed = new Promise<never>((_, reject) => thread.once('error', reject))
  await Promise.race([tried, failed])
  await gone()
  const { url } = await localNats(t, { port })
  const link = await done(connectNats({ url, name: 'test' }))
  t.teardown(() => link.close()())
  const beat = new Promise<string>(resolve => {
    natsControlBus(link).subscribe('sluice.beats.coordinator', payload =>
      resolve(new TextDecoder().decode(payload)),
    )
  })
  t.regex(await Promise.race([beat, failed]), /"heartbeat"/)
})

test('a heartbeat that waits for NATS ends when it is told to', async t => {
  const port = await freePort()
  const { tried } = await nobody(t, port)
  const thread = startThread(`nats://127.0.0.1:${port}`)
  await tried
  thread.postMessage('stop')
  t.deepEqual(await once(thread, 'exit'), [0])
})
