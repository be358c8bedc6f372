"""Which products of the array are look-up tables, on a device with too few multiplier blocks for all of them."""

from lepton.arch import ChipConfig

# Blocks of 18 x 18 bits for a lane of the tail: the requantizer's product of 32 x 32 bits takes four, and of the
# residual add's three products that of the sum takes four, those of 9 x 32 bits two each.
TAIL_BLOCKS = 12
# For a lane of ROWS: four for its product of 32 x 32 bits, four for that of 24 x 24, one for that of 13 x 9; and four
# for its scalar unit.
ROW_LANE_BLOCKS = 9
ROW_SCALAR_BLOCKS = 4
# An ECP5-85 has 156 blocks (Lattice FPGA-DS-02012); 15 % of them stay free, so that placing has a choice.
ECP5_85 = 132


def columns_of_tables(config: ChipConfig, platform: object) -> int:
    """Columns of the array whose products are look-up tables.

    `platform.multipliers`: the blocks that the device has for the chip; where nothing is said, as many as it needs. The
    tail and ROWS keep their multipliers: a product of 8 x 8 bits takes a block as one of 18 x 18 does, and a quarter of
    the partial products.
    """
    blocks: int | None = getattr(platform, "multipliers", None)
    if blocks is None:
        return 0
    rows = config.row_lanes * ROW_LANE_BLOCKS + ROW_SCALAR_BLOCKS if config.row_lanes else 0
    missing = config.columns * (config.lanes + TAIL_BLOCKS) + rows - blocks
    return min(config.columns, max(0, -(-missing // config.lanes)))
