CREATE TABLE payments (
  order_id   TEXT PRIMARY KEY,
  user_id    TEXT NOT NULL,
  amount     BIGINT NOT NULL,
  currency   TEXT NOT NULL,
  priced_by  TEXT NOT NULL,
  status     TEXT NOT NULL,
  charge_id  TEXT NOT NULL DEFAULT '',
  reason     TEXT NOT NULL DEFAULT '',
  attempts   BIGINT NOT NULL DEFAULT 0,
  next_at    BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX payments_due ON payments (next_at) WHERE next_at > 0;
