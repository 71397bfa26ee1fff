// A small Markdown reader for runbooks and reports. It yields a tree, never
// HTML: parts/markdown.tsx turns the tree into elements whose text is text. So
// a <script> in a runbook is shown, not run, and a link leads only where
// safeHref allows.
//
// Read: headings, paragraphs, lists with check boxes, fenced code, quotes,
// rules, tables, emphasis, code, links, bare URLs, bare trace ids. Not read:
// raw HTML (shown as text), images (shown as a link), reference links.

export type Inline =
  | { t: 'text'; text: string }
  | { t: 'code'; text: string }
  | { t: 'strong' | 'em' | 'del'; kids: Inline[] }
  | { t: 'link'; href: string; kids: Inline[] }
  | { t: 'br' }

export interface Item {
  checked: boolean | null
  kids: Block[]
}

export type Align = 'left' | 'right' | 'center'

export type Block =
  | { t: 'heading'; level: number; kids: Inline[] }
  | { t: 'para'; kids: Inline[] }
  | { t: 'code'; lang: string; text: string }
  | { t: 'list'; ordered: boolean; start: number; items: Item[] }
  | { t: 'quote'; kids: Block[] }
  | { t: 'rule' }
  | { t: 'table'; align: Align[]; head: Inline[][]; rows: Inline[][][] }

const deepest = 8 // of nesting; below that, text
const longestText = 20_000 // characters of one paragraph read for emphasis
const longestDocument = 400_000

// safeHref lets through what a click may open: http, https, mailto, and paths
// and fragments of this console. Anything else (javascript:, data:, //host) is null.
export function safeHref(url: string): string | null {
  const u = url.trim()
  if (/^[a-z][a-z0-9+.-]*:/i.test(u)) return /^(https?:\/\/|mailto:)/i.test(u) ? u : null
  if (u.startsWith('//') || u.startsWith('/\\') || u.includes('\\')) return null
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020]/.test(u)) return null
  return u.startsWith('/') || u.startsWith('#') ? u : null
}

const traceId = /^[0-9a-f]{32}$/

export function parse(source: string): Block[] {
  let text = source.slice(0, longestDocument).replace(/\r\n?/g, '\n').replace(/\t/g, '    ')
  const matter = /^---\n[\s\S]*?\n---[ ]*(?:\n|$)/.exec(text)
  if (matter) text = text.slice(matter[0].length)
  return blocks(text.split('\n'), 0)
}

const fence = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/
const heading = /^ {0,3}(#{1,6})(?:\s+(.*?))?\s*#*\s*$/
const rule = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/
const bullet = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)(.*)$/
const quote = /^ {0,3}> ?(.*)$/
const divider = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/
const comment = /^ {0,3}<!--.*-->\s*$/

function blocks(lines: string[], depth: number): Block[] {
  const out: Block[] = []
  if (depth > deepest) return [{ t: 'para', kids: [{ t: 'text', text: lines.join('\n') }] }]
  let i = 0
  while (i < lines.length) {
    const line = lines[i] as string
    if (line.trim() === '' || comment.test(line)) {
      i++
      continue
    }
    const f = fence.exec(line)
    if (f) {
      const mark = f[1] as string
      const body: string[] = []
      i++
      while (i < lines.length && !(lines[i] as string).trim().startsWith(mark)) body.push(lines[i++] as string)
      i++ // the closing fence, or the end
      out.push({ t: 'code', lang: (f[2] ?? '').trim().split(/\s/)[0] ?? '', text: body.join('\n') })
      continue
    }
    const h = heading.exec(line)
    if (h) {
      out.push({ t: 'heading', level: (h[1] as string).length, kids: inline(h[2] ?? '') })
      i++
      continue
    }
    if (rule.test(line)) {
      out.push({ t: 'rule' })
      i++
      continue
    }
    if (quote.test(line)) {
      const inner: string[] = []
      while (i < lines.length) {
        const q = quote.exec(lines[i] as string)
        if (q) inner.push(q[1] ?? '')
        else if ((lines[i] as string).trim() === '' || starts(lines[i] as string)) break
        else inner.push(lines[i] as string)
        i++
      }
      out.push({ t: 'quote', kids: blocks(inner, depth + 1) })
      continue
    }
    if (bullet.test(line)) {
      const [block, next] = list(lines, i, depth)
      out.push(block)
      i = next
      continue
    }
    if (line.includes('|') && i + 1 < lines.length && divider.test(lines[i + 1] as string) && (lines[i + 1] as string).includes('-')) {
      const head = cells(line)
      const marks = cells(lines[i + 1] as string)
      if (head.length === marks.length) {
        const align = marks.map((m): Align => (m.endsWith(':') ? (m.startsWith(':') ? 'center' : 'right') : 'left'))
        const rows: Inline[][][] = []
        i += 2
        while (i < lines.length && (lines[i] as string).trim() !== '' && (lines[i] as string).includes('|')) {
          const row = cells(lines[i++] as string)
          rows.push(head.map((_, c) => inline(row[c] ?? '')))
        }
        out.push({ t: 'table', align, head: head.map((c) => inline(c)), rows })
        continue
      }
    }
    const body: string[] = [line]
    i++
    while (i < lines.length && (lines[i] as string).trim() !== '' && !starts(lines[i] as string)) body.push(lines[i++] as string)
    out.push({ t: 'para', kids: inline(body.map((l) => l.replace(/^ +/, '')).join('\n')) })
  }
  return out
}

// starts tells whether a line ends a paragraph because something else begins.
function starts(line: string): boolean {
  const b = bullet.exec(line)
  return fence.test(line) || heading.test(line) || rule.test(line) || quote.test(line) || (b !== null && b[4] !== '' && !/^(?!1[.)])\d/.test(b[2] as string))
}

function list(lines: string[], from: number, depth: number): [Block, number] {
  const first = bullet.exec(lines[from] as string) as RegExpExecArray
  const ordered = /\d/.test(first[2] as string)
  const kind = (first[2] as string).slice(-1)
  const items: Item[] = []
  let i = from
  while (i < lines.length) {
    const b = bullet.exec(lines[i] as string)
    if (!b || (b[2] as string).slice(-1) !== kind || rule.test(lines[i] as string)) break
    const indent = (b[1] as string).length + (b[2] as string).length + Math.min(Math.max((b[3] as string).length, 1), 4)
    const body: string[] = [b[4] as string]
    i++
    while (i < lines.length) {
      const line = lines[i] as string
      if (line.trim() === '') {
        const next = lines[i + 1]
        if (next === undefined || lead(next) < Math.min(indent, 2) || next.trim() === '') break
        body.push('')
      } else if (lead(line) >= Math.min(indent, 2)) body.push(line.slice(Math.min(lead(line), indent)))
      else if (starts(line) || bullet.test(line)) break
      else body.push(line)
      i++
    }
    const check = /^\[([ xX])\]\s+/.exec(body[0] as string)
    if (check) body[0] = (body[0] as string).slice(check[0].length)
    items.push({ checked: check ? check[1] !== ' ' : null, kids: blocks(body, depth + 1) })
    // one empty line between items is still the same list
    let skip = i
    while (skip < lines.length && (lines[skip] as string).trim() === '') skip++
    if (skip < lines.length && skip > i && bullet.test(lines[skip] as string) && !rule.test(lines[skip] as string)) i = skip
  }
  return [{ t: 'list', ordered, start: ordered ? Number.parseInt(first[2] as string, 10) : 1, items }, i]
}

const lead = (line: string): number => line.length - line.trimStart().length

function cells(line: string): string[] {
  const out: string[] = []
  let cell = ''
  let code = false
  const body = line.trim().replace(/^\|/, '')
  for (let i = 0; i < body.length; i++) {
    const c = body[i] as string
    if (c === '\\' && body[i + 1] === '|') {
      cell += '|'
      i++
    } else if (c === '|' && !code) {
      out.push(cell.trim())
      cell = ''
    } else {
      if (c === '`') code = !code
      cell += c
    }
  }
  if (cell.trim() !== '') out.push(cell.trim())
  return out
}

const word = /[\p{L}\p{N}_]/u
const wordAt = (s: string, i: number): boolean => i >= 0 && i < s.length && word.test(s[i] as string)

export function inline(s: string, depth = 0): Inline[] {
  if (s.length > longestText || depth > deepest) return [{ t: 'text', text: s }]
  const out: Inline[] = []
  let text = ''
  const flush = (): void => {
    if (text !== '') out.push({ t: 'text', text })
    text = ''
  }
  const put = (node: Inline): void => {
    flush()
    out.push(node)
  }
  let i = 0
  while (i < s.length) {
    const c = s[i] as string
    if (c === '\\' && i + 1 < s.length) {
      if (s[i + 1] === '\n') put({ t: 'br' })
      else if (/[!-/:-@[-`{-~]/.test(s[i + 1] as string)) text += s[i + 1]
      else text += c + (s[i + 1] as string)
      i += 2
      continue
    }
    if (c === '\n') {
      if (text.endsWith('  ')) {
        text = text.trimEnd()
        put({ t: 'br' })
      } else text += '\n'
      i++
      continue
    }
    if (c === '`') {
      const ticks = (/^`+/.exec(s.slice(i, i + 64)) as RegExpExecArray)[0]
      const end = closing(s, ticks, i + ticks.length)
      if (end > 0) {
        const code = s.slice(i + ticks.length, end).replace(/\n/g, ' ').replace(/^ (.*[^ ].*) $/, '$1')
        put(traceId.test(code) ? { t: 'link', href: '/traces/' + code, kids: [{ t: 'code', text: code }] } : { t: 'code', text: code })
        i = end + ticks.length
      } else {
        text += ticks
        i += ticks.length
      }
      continue
    }
    if (c === '*' || c === '_' || c === '~') {
      const double = s[i + 1] === c
      const mark = double ? c + c : c
      const start = i + mark.length
      const opens = start < s.length && !/\s/.test(s[start] as string) && (c !== '_' || !wordAt(s, i - 1)) && (c !== '~' || double)
      const end = opens ? closing(s, mark, start + 1) : -1
      if (end > 0 && !/\s/.test(s[end - 1] as string) && (c !== '_' || !wordAt(s, end + mark.length))) {
        put({ t: c === '~' ? 'del' : double ? 'strong' : 'em', kids: inline(s.slice(start, end), depth + 1) })
        i = end + mark.length
      } else {
        text += mark
        i += mark.length
      }
      continue
    }
    if (c === '[' || (c === '!' && s[i + 1] === '[')) {
      const link = readLink(s, c === '!' ? i + 1 : i)
      if (link) {
        const href = safeHref(link.url)
        const kids = inline(link.label, depth + 1)
        if (href !== null) put({ t: 'link', href, kids })
        else {
          flush()
          out.push(...kids, { t: 'text', text: ` (${link.url})` })
        }
        i = link.end
        continue
      }
    }
    if (c === '<') {
      const auto = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/i.exec(s.slice(i, i + 2100))
      if (auto) {
        put({ t: 'link', href: auto[1] as string, kids: [{ t: 'text', text: auto[1] as string }] })
        i += auto[0].length
        continue
      }
    }
    if (!wordAt(s, i - 1)) {
      if (c === 'h') {
        const url = /^https?:\/\/[^\s<>"'`|\\^{}，。；、）】]{1,2000}/.exec(s.slice(i, i + 2100))
        if (url) {
          const clean = url[0].replace(/[.,;:!?)\]*_]+$/, '')
          put({ t: 'link', href: clean, kids: [{ t: 'text', text: clean }] })
          i += clean.length
          continue
        }
      }
      if (/[0-9a-f]/.test(c) && traceId.test(s.slice(i, i + 32)) && !wordAt(s, i + 32)) {
        const id = s.slice(i, i + 32)
        put({ t: 'link', href: '/traces/' + id, kids: [{ t: 'code', text: id }] })
        i += 32
        continue
      }
    }
    text += c
    i++
  }
  flush()
  return out
}

// closing finds the next run of exactly mark, -1 when there is none.
function closing(s: string, mark: string, from: number): number {
  const c = mark[0] as string
  let at = s.indexOf(mark, from)
  while (at >= 0) {
    let end = at
    while (s[end] === c) end++
    let begin = at
    while (begin > from && s[begin - 1] === c) begin--
    if (end - begin === mark.length && s[begin - 1] !== '\\') return begin
    at = s.indexOf(mark, end)
  }
  return -1
}

function readLink(s: string, at: number): { label: string; url: string; end: number } | null {
  let open = 0
  let i = at
  for (; i < s.length && i < at + 2000; i++) {
    if (s[i] === '\\') i++
    else if (s[i] === '[') open++
    else if (s[i] === ']' && --open === 0) break
  }
  if (s[i] !== ']' || s[i + 1] !== '(') return null
  const label = s.slice(at + 1, i)
  let parens = 1
  let j = i + 2
  for (; j < s.length && j < i + 2100; j++) {
    if (s[j] === '\n') return null
    if (s[j] === '(') parens++
    else if (s[j] === ')' && --parens === 0) break
  }
  if (s[j] !== ')') return null
  const url = s.slice(i + 2, j).trim().replace(/\s+["'(].*$/, '').replace(/^<|>$/g, '')
  return { label, url, end: j + 1 }
}
