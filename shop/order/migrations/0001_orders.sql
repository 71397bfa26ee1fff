CREATE TABLE orders (
  id         TEXT PRIMARY KEY,
  user_id    TEXT NOT NULL,
  key        TEXT NOT NULL,
  sku        TEXT NOT NULL,
  quantity   BIGINT NOT NULL,
  state      TEXT NOT NULL,
  amount     BIGINT NOT NULL DEFAULT 0,
  paid       BIGINT NOT NULL DEFAULT 0,
  currency   TEXT NOT NULL DEFAULT '',
  reason     TEXT NOT NULL DEFAULT '',
  attempts   BIGINT NOT NULL DEFAULT 0,
  next_at    BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (user_id, key)
);
CREATE INDEX orders_due ON orders (next_at) WHERE next_at > 0;
