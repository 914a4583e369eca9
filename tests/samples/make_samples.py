"""Write the binary samples: Parquet as in the Complete Journey package, xlsx as UCI's, gzip as the Amazon dumps."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent


def complete_journey() -> dict[str, pd.DataFrame]:
    """The package's eight tables, a handful of rows each."""
    at = pd.to_datetime(
        [
            "2017-01-03 15:00:00",
            "2017-01-03 15:00:00",
            "2017-01-03 15:00:00",
            "2017-11-10 18:30:00",
            "2017-12-20 23:59:59",
            "2017-07-05 04:30:00",
        ]
    )
    transactions = {
        "household_id": [7, 7, 7, 7, 7, 12],
        "store_id": [330, 330, 330, 330, 330, 406],
        "basket_id": [31000000001, 31000000001, 31000000001, 31000000002, 31000000003, 31000000004],
        "product_id": [1000, 900, 1100, 1000, 77, 900],
        "quantity": [1, 2, 1, 1, 0, 3],
        "sales_value": [2.5, 3.98, 0.99, 2.5, 0.0, 5.97],
        "retail_disc": [0.5, 0.0, 0.0, 0.0, 0.0, 0.6],
        "coupon_disc": [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        "coupon_match_disc": [0.0] * 6,
        "week": [2, 2, 2, 46, 52, 28],
        "transaction_timestamp": at,
    }
    products = {
        "product_id": [900, 1000, 1100, 1200],
        "manufacturer_id": [5, 69, 5, 8],
        "department": ["GROCERY", "DELI", "MISCELLANEOUS", "PASTRY"],
        "brand": ["National", "Private", "National", "National"],
        "product_category": ["COFFEE", "DELI MEATS", None, "BREAD"],
        "product_type": ["GROUND COFFEE", "MEAT: HAM BULK", None, "BREAD"],
        "package_size": ["12 OZ", None, None, "1  LB"],
    }
    demographics = {
        "household_id": [7],
        "age": ["35-44"],
        "income": ["50-74K"],
        "home_ownership": [None],
        "marital_status": ["Married"],
        "household_size": ["3"],
        "household_comp": ["2 Adults Kids"],
        "kids_count": ["1"],
    }
    promotions = {
        "product_id": [1000, 900, 900, 1100, 1000],
        "store_id": [330, 330, 406, 330, 330],
        "display_location": ["9", "0", "A", "0", "0"],
        "mailer_location": ["A", "D", "0", "0", "H"],
        "week": [2, 2, 28, 2, 47],
    }
    return {
        "transactions": pd.DataFrame(transactions),
        "products": pd.DataFrame(products),
        "demographics": pd.DataFrame(demographics),
        "promotions": pd.DataFrame(promotions),
        "campaigns": pd.DataFrame({"campaign_id": [1, 1], "household_id": [7, 12]}),
        "campaign_descriptions": pd.DataFrame(
            {
                "campaign_id": [1],
                "campaign_type": ["Type B"],
                "start_date": pd.to_datetime(["2017-03-03"]),
                "end_date": pd.to_datetime(["2017-04-09"]),
            }
        ),
        "coupons": pd.DataFrame({"coupon_upc": [51, 51, 52], "product_id": [1000, 1000, 55], "campaign_id": [1, 1, 1]}),
        "coupon_redemptions": pd.DataFrame(
            {
                "household_id": [7],
                "coupon_upc": [51],
                "campaign_id": [1],
                "redemption_date": pd.to_datetime(["2017-11-10"]),
            }
        ),
    }


def main() -> None:
    """Write all binary samples beside this file."""
    for name, table in complete_journey().items():
        table.to_parquet(HERE / "complete_journey" / f"{name}.parquet", index=False)
    lines = pd.read_csv(HERE / "online_retail" / "online_retail.csv", dtype={"StockCode": "str", "InvoiceNo": "str"})
    lines["InvoiceDate"] = pd.to_datetime(lines["InvoiceDate"], format="%m/%d/%Y %H:%M")
    two = {"Invoice": "InvoiceNo", "Price": "UnitPrice", "Customer ID": "CustomerID"}
    second = lines.rename(columns={ours: theirs for theirs, ours in two.items()})
    with pd.ExcelWriter(HERE / "online_retail" / "online_retail_ii.xlsx") as book:
        second.iloc[:8].to_excel(book, sheet_name="Year 2009-2010", index=False)
        second.iloc[8:].to_excel(book, sheet_name="Year 2010-2011", index=False)
    for plain in ("amazon_2023/reviews.jsonl", "amazon_2014/meta.json"):
        with gzip.GzipFile(HERE / f"{plain}.gz", "wb", mtime=0) as file:
            file.write((HERE / plain).read_bytes())


if __name__ == "__main__":
    main()
