/** Job files in TypeScript run as they are, whatever kind of package they are in. */
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { refusalOf, runCli } from '../support/cli.js'
import { jobSource, messagesOf, openNats, uniqueName } from '../support/jobs.js'
import { sharedServers } from '../support/servers.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

test.before('start the servers', async () => {
  await sharedServers()
})

test.serial('a job of two files with an enum runs, and its sink makes its stream', async t => {
  const servers = await sharedServers()
  const nats = await openNats(t, servers.natsUrl)
  const job = uniqueName('airports')
  const settings = { JOB: job, SUBJECT: job }
  const { code, stdout } = await runCli(t, ['up', jobSource('airports/job')], { servers, settings })
  t.is(code, 0)
  t.regex(stdout, new RegExp(`job '${job}' is finished`))
  t.deepEqual(
    (await messagesOf(nats, 'OUT')).map(({ text }) => JSON.parse(text)),
    [
      { code: 'ORD', large: true },
      { code: 'GUC', large: false },
    ],
  )
})

/** A folder outside of this package, in which `sluice` and `io-ts` are installed. */
const project = async (t: ExecutionContext, manifest: string | undefined): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-project-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(dirname(jobSource('setting')), join(folder, 'jobs'), { recursive: true })
  await mkdir(join(folder, 'node_modules'))
  await symlink(root, join(folder, 'node_modules', 'sluice'))
  for (const name of ['io-ts', 'fp-ts']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  }
  if (manifest !== undefined) await writeFile(join(folder, 'package.json'), manifest)
  return folder
}

for (const manifest of ['{ "type": "module" }', '{ "type": "commonjs" }', '{}', undefined]) {
  test.serial(`a job file is loaded in a project whose package.json is ${manifest}`, async t => {
    const folder = await project(t, manifest)
    const file = join(folder, 'jobs', 'airports', 'job.ts')
    // What it asks for shows that the job was loaded, before any server is needed.
    const { next } = await refusalOf(t, ['worker', file, '--only', 'nothing/0'])
    t.is(next, 'Choose from: airports/0.')
  })
}

for (const [what, text, reason] of [
  ['does not parse', 'export default const', /cannot be loaded: (.|\n)*Unexpected "const"/],
  [
    'imports what is not there',
    "import './gone.js'",
    /cannot be loaded: Cannot find module '.*gone/,
  ],
] as const) {
  test.serial(`a TypeScript file that ${what} is refused with the reason`, async t => {
    const folder = await project(t, undefined)
    const file = join(folder, 'job.ts')
    await writeFile(file, text)
    t.regex((await refusalOf(t, ['up', file])).message, reason)
  })
}
