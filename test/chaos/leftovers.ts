/** What a job that has ended must not leave behind. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { done, inputStream, outputStream, type World } from './world.js'

const run = promisify(execFile)
const goneWithinMs = 10_000
const pollMs = 50
const jobsList = 'sluice:jobs'

/** One sentence for everything that is left and should not be; empty when all is well. */
export const leftovers = async (world: World, jobFile: string): Promise<readonly string[]> => [
  ...(await processesLeft(jobFile)),
  ...(await streamsLeft(world)),
  ...(await keysLeft(world)),
]

/** Every process of the job has the job's file on its command line. */
export const processesOf = async (jobFile: string): Promise<readonly string[]> => {
  const { stdout } = await run('ps', ['-axww', '-o', 'stat=,pid=,args='])
  return stdout
    .split('\n')
    .filter(line => line.includes(jobFile) && !line.startsWith('Z'))
    .map(line => line.trim())
}

/** A process notices a moment later that its supervisor is gone. */
const processesLeft = async (jobFile: string): Promise<readonly string[]> => {
  const giveUpAt = performance.now() + goneWithinMs
  let left = await processesOf(jobFile)
  while (left.length > 0 && performance.now() < giveUpAt) {
    await new Promise(resolve => setTimeout(resolve, pollMs))
    left = await processesOf(jobFile)
  }
  return left.map(line => `a process is left: ${line}`)
}

const streamsLeft = async ({ log }: World): Promise<readonly string[]> => {
  const streams = await done(log.list(''))
  return streams
    .filter(name => name !== inputStream && name !== outputStream)
    .map(name => `a stream is left: ${name}`)
}

const keysLeft = async ({ servers }: World): Promise<readonly string[]> => {
  const redis = new Redis(servers.redisUrl)
  try {
    const left: string[] = []
    for (const key of await redis.keys('*')) {
      if (key !== jobsList && (await redis.pttl(key)) === -1) left.push(`key ${key} has no TTL`)
    }
    const names = await redis.zrange(jobsList, '0', '-1', 'WITHSCORES')
    if (names.includes('inf')) left.push(`${jobsList} lists the job for ever`)
    return left
  } finally {
    redis.disconnect()
  }
}
