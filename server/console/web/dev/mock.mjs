// A stand-in for the control plane while working on the console: the API from
// fixtures.mjs and the built page from ../dist under the real policy.
// Development only.
//
//   npm run mock -- [--port 7690] [--empty]      then open http://127.0.0.1:7690
//   npm run mock, and in another shell SUREFOOT_URL=http://127.0.0.1:7690 npm run dev
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import * as fix from './fixtures.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const dist = path.resolve(here, '../../dist')
const policy = /const policy = "([^"]+)"/.exec(readFileSync(path.resolve(here, '../../console.go'), 'utf8'))[1]
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.txt': 'text/plain; charset=utf-8' }

export function serve({ port = 0, empty = false } = {}) {
  const nothing = { nodes: [], edges: null, services: null, incidents: null, routes: [] }
  const now = () => new Date().toISOString()
  const overview = () => (empty ? { at: now(), ready: true, version: 'v0.1.0-mock', services: null, incidents: null, ingest: {}, routes: null } : fix.overview())
  const topology = () => (empty ? { at: now(), ...nothing } : fix.topology())
  const answer = (res, status, body) => {
    res.writeHead(status, { 'Content-Type': 'application/json' })
    res.end(JSON.stringify(body))
  }
  const wrong = (res, code, error, message, details = []) => answer(res, code, { code, error, message, details, traceId: '4bf92f3577b34da6a3ce929d0e0e4736', timestamp: now() })

  const server = http.createServer((req, res) => {
    const url = new URL(req.url, 'http://mock')
    const parts = url.pathname.split('/').slice(3).map(decodeURIComponent)
    if (!url.pathname.startsWith('/api/v1/')) return file(req, res, url.pathname)
    const q = url.searchParams
    const [what, id, sub] = parts
    switch (what) {
      case 'overview': return answer(res, 200, overview())
      case 'topology':
        if (q.get('format') === 'mermaid') return res.writeHead(200, { 'Content-Type': 'text/plain' }).end('graph LR\n  payment -->|strong| bank\n')
        return answer(res, 200, topology())
      case 'services': {
        if (sub === 'vitals' && !empty && fix.service(id)) return answer(res, 200, fix.vitals(id))
        if (sub === 'config') return answer(res, 200, empty ? { service: id, keys: null, applied: null, pushes: null } : fix.config(id))
        const s = empty ? null : fix.service(id)
        return s ? answer(res, 200, s) : wrong(res, 404, 'not_found', 'no such service')
      }
      case 'instances': return answer(res, 200, { instances: empty ? null : fix.instances(q.get('service')) })
      case 'query_range': return answer(res, 200, fix.range(q.get('query'), Number(q.get('start')), Number(q.get('end')), Number(q.get('step'))))
      case 'traces': {
        if (id === undefined) return q.get('service') === 'bank' ? wrong(res, 503, 'unavailable', 'the span store is busy; try again', ['this is a made-up failure']) : answer(res, 200, { traces: empty ? null : fix.traces(q) })
        const t = fix.trace(id)
        return t ? answer(res, 200, t) : wrong(res, 404, 'not_found', 'no such trace')
      }
      case 'logs': return answer(res, 200, { logs: empty ? null : fix.logs(q) })
      case 'incidents': {
        if (id === undefined) return answer(res, 200, { incidents: empty ? null : fix.incidents() })
        const i = fix.incidents().find((x) => x.id === id)
        if (!i) return wrong(res, 404, 'not_found', 'no such incident')
        if (sub !== 'report') return answer(res, 200, i)
        if (!i.hasReport) return wrong(res, 404, 'not_found', 'no report yet')
        const r = fix.report(q.get('lang'), id)
        if (q.get('format') === 'json') return answer(res, 200, r)
        return res.writeHead(200, { 'Content-Type': 'text/markdown; charset=utf-8' }).end(r.markdown)
      }
      case 'routes':
        if (req.method === 'POST' && sub === 'clear') {
          let body = ''
          req.on('data', (d) => (body += d))
          req.on('end', () => {
            const by = JSON.parse(body).by
            if (!by) return wrong(res, 400, 'invalid_request', 'request parameters failed validation', ['by must not be empty'])
            if (by === 'nobody') return wrong(res, 403, 'forbidden', 'nobody may not clear releases')
            fix.clearReview()
            answer(res, 200, fix.routes()[0])
          })
          return
        }
        return answer(res, 200, { routes: fix.routes() })
      case 'events': {
        res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
        const beat = () => {
          res.write(`event: overview\ndata: ${JSON.stringify(overview())}\n\n`)
          res.write(`event: topology\ndata: ${JSON.stringify(topology())}\n\n`)
        }
        beat()
        const timer = setInterval(beat, 1000)
        res.on('close', () => clearInterval(timer))
        return
      }
      default: return wrong(res, 404, 'not_found', 'no such path')
    }
  })

  function file(req, res, pathname) {
    res.setHeader('Content-Security-Policy', policy)
    res.setHeader('X-Content-Type-Options', 'nosniff')
    const name = path.join(dist, path.normalize(decodeURIComponent(pathname)))
    const known = name.startsWith(dist) && existsSync(name) && statSync(name).isFile()
    if (!known && pathname.startsWith('/assets/')) return res.writeHead(404).end()
    const full = known ? name : path.join(dist, 'index.html')
    res.writeHead(200, { 'Content-Type': types[path.extname(full)] ?? 'application/octet-stream', 'Cache-Control': 'no-cache' })
    createReadStream(full).pipe(res)
  }

  return new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(port, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), new Promise((r) => server.close(r))) }))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '7690' }, empty: { type: 'boolean', default: false } } })
  const s = await serve({ port: Number(values.port), empty: values.empty })
  console.log(`mock control plane at ${s.url}`)
}
