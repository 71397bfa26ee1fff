CREATE TABLE stock (
  sku        TEXT PRIMARY KEY,
  price      BIGINT NOT NULL,
  currency   TEXT NOT NULL,
  at_start   BIGINT NOT NULL,
  available  BIGINT NOT NULL CHECK (available >= 0),
  reserved   BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  sold       BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE reservations (
  order_id   TEXT PRIMARY KEY,
  sku        TEXT NOT NULL,
  quantity   BIGINT NOT NULL,
  status     TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE TABLE dispatches (
  order_id   TEXT PRIMARY KEY,
  sku        TEXT NOT NULL,
  quantity   BIGINT NOT NULL,
  attempts   BIGINT NOT NULL DEFAULT 0,
  next_at    BIGINT NOT NULL,
  reason     TEXT NOT NULL DEFAULT '',
  updated_at BIGINT NOT NULL
);
CREATE INDEX dispatches_due ON dispatches (next_at) WHERE next_at > 0;
