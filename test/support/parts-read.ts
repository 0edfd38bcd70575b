/** Which parts of snapshots are read from a real Redis, as its MONITOR sees it. */
import { connect } from 'node:net'
import type { ExecutionContext } from 'ava'
import { eventually } from './cli.js'
import { openRedis, uniqueName } from './jobs.js'

/** Watches a Redis; gives the keys of parts that were read from it, but by the store's own scripts. */
export const partsRead = async (
  t: ExecutionContext,
  redisUrl: string,
): Promise<() => Promise<readonly string[]>> => {
  const { hostname, port, password } = new URL(redisUrl)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  let text = ''
  socket.setEncoding('utf8').on('data', (more: string) => {
    text += more
  })
  socket.write(`${password === '' ? '' : `AUTH ${password}\r\n`}MONITOR\r\n`)
  await eventually('MONITOR answers', () => text.includes('+OK\r\n'))
  const redis = openRedis(t, redisUrl)
  return async () => {
    const mark = uniqueName('mark')
    await redis.echo(mark)
    await eventually('MONITOR has come so far', () => text.includes(mark))
    const lines = text.split('\r\n').filter(line => !line.includes(' lua] '))
    const keys = lines.map(line => /\] "hm?get" "(sluice:[^"]+:part:[^"]+)"/i.exec(line)?.[1])
    return [...new Set(keys.filter(key => key !== undefined))]
  }
}
