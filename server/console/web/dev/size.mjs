// Prints what the built page weighs: each file of dist, raw and gzip.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const dist = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../dist')
const kb = (n) => (n / 1024).toFixed(1).padStart(8) + ' KB'
let raw = 0
let packed = 0
for (const name of readdirSync(dist, { recursive: true }).map(String).sort()) {
  const file = path.join(dist, name)
  if (!statSync(file).isFile()) continue
  const body = readFileSync(file)
  const gz = gzipSync(body, { level: 9 }).length
  raw += body.length
  packed += gz
  console.log(`${kb(body.length)} ${kb(gz)} gzip  ${name}`)
}
console.log(`${kb(raw)} ${kb(packed)} gzip  total`)
