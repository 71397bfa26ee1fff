// The release of a service: who serves whom, the rule that guards it, and the
// mark a rollback leaves until a named person clears it.
import { useEffect, useRef, useState } from 'preact/hooks'
import { api, Failure, type Trouble } from '../api'
import { clock, share } from '../format'
import { useT } from '../i18n'
import { recall, remember } from '../store'
import type { Route } from '../types'
import { Card, StateIcon, Tag, TroubleBox } from './basic'

export function Release({ route, cleared }: { route: Route; cleared: () => void }) {
  const t = useT()
  const match = Object.entries(route.match).map(([k, v]) => `${k}=${v}`).join(', ')
  return (
    <Card id="release" title={t.service.release} hint={t.service.revision(route.revision)}>
      <div class="lanes">
        <p class="lane"><Tag tone="ok">{t.service.stable}</Tag> <strong>{route.stable || t.common.unknown}</strong> <span class="muted">{route.canary === '' || route.weight === 0 ? t.service.to(100, '') : ''}</span></p>
        {route.canary !== '' && (
          <p class="lane">
            <Tag tone="accent">{t.service.canary}</Tag> <strong>{route.canary}</strong>{' '}
            <span>{route.weight > 0 ? t.service.to(route.weight, match) : t.service.nobody}</span>
            <svg class="weight" width="120" height="8" role="img" aria-label={`${route.weight}%`}>
              <rect width="120" height="8" rx="4" class="weight-all" />
              <rect width={(120 * Math.min(100, Math.max(0, route.weight))) / 100} height="8" rx="4" class="weight-part" />
            </svg>
          </p>
        )}
        {route.rule && <p class="small muted">{t.service.rule(share(route.rule.maxErrorShare), route.rule.forSeconds)}</p>}
      </div>
      {route.review?.pending && <Pending service={route.service} version={route.review.version} reason={route.review.reason} since={route.review.since} cleared={cleared} />}
    </Card>
  )
}

function Pending({ service, version, reason, since, cleared }: { service: string; version: string; reason: string; since: string; cleared: () => void }) {
  const t = useT()
  const [open, show] = useState(false)
  return (
    <div class="pending">
      <StateIcon state="warn" size={18} />
      <div class="grow">
        <strong>{t.service.pending(version)}</strong>
        <p>{reason}{reason !== '' && ' · '}<span class="muted">{t.service.pendingSince(clock(since, Date.now()))}</span></p>
        <p class="small muted">{t.service.pendingMeans}</p>
        {open && <ClearForm service={service} version={version} done={cleared} cancel={() => show(false)} />}
      </div>
      {!open && <button type="button" onClick={() => show(true)}>{t.service.clear}…</button>}
    </div>
  )
}

function ClearForm({ service, version, done, cancel }: { service: string; version: string; done: () => void; cancel: () => void }) {
  const t = useT()
  const [by, setBy] = useState(recall('name') ?? '')
  const [note, setNote] = useState('')
  const [wrong, setWrong] = useState(false)
  const [busy, setBusy] = useState(false)
  const [trouble, setTrouble] = useState<Trouble | null>(null)
  const first = useRef<HTMLInputElement>(null)
  useEffect(() => first.current?.focus(), [])
  const submit = async (e: Event): Promise<void> => {
    e.preventDefault()
    const name = by.trim()
    setWrong(name === '')
    if (name === '') return first.current?.focus()
    setBusy(true)
    setTrouble(null)
    try {
      await api.clear(service, name, note.trim())
      remember('name', name)
      done()
    } catch (err) {
      setTrouble(err instanceof Failure ? err.trouble : { kind: 'garbled' })
      setBusy(false)
    }
  }
  return (
    <form class="form" onSubmit={submit} aria-label={t.service.clearTitle(version)} noValidate>
      <label>
        <span>{t.service.clearBy}</span>
        <input ref={first} name="by" value={by} autocomplete="name" maxLength={120} required aria-invalid={wrong} aria-describedby="by-hint" onInput={(e) => setBy(e.currentTarget.value)} />
        <small id="by-hint" class={wrong ? 'wrong' : 'muted'} role={wrong ? 'alert' : undefined}>{wrong ? t.service.clearNeedName : t.service.clearByHint}</small>
      </label>
      <label>
        <span>{t.service.clearNote}</span>
        <textarea name="note" rows={2} maxLength={2000} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
      </label>
      {trouble && <TroubleBox trouble={trouble} />}
      <p class="row">
        <button type="submit" class="primary" disabled={busy}>{busy ? t.service.clearDoing : t.service.clearDo}</button>
        <button type="button" class="ghost" onClick={cancel}>{t.service.clearCancel}</button>
      </p>
    </form>
  )
}
